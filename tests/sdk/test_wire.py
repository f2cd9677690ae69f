"""What travels: the provider receives the client's bytes, the client the provider's."""

import gzip
import itertools

import httpx
import pytest

from harness import CLIENT_S_MAX, TEXT, body_of, headers_of

SAID = [{"role": "user", "content": TEXT}]
# Belong to one connection, or name it; each hop has its own.
HOP = {"host", "connection", "accept-encoding", "transfer-encoding", "content-length"}


def both_requests(standin, direct, through, call):
    standin.forget()
    call(direct)
    call(through)
    first, second = standin.requests()["last"]
    return first, second


CALLS = {
    "chat": lambda side, **more: side.openai.chat.completions.create(
        model="echo", messages=SAID, temperature=0.2, user="u-1", metadata={"a": "b"}, extra_body={"x_new": {"deep": [1.0, 1e-7]}}, **more
    ),
    "responses": lambda side, **more: side.openai.responses.create(model="echo", input=TEXT, **more),
    "embeddings": lambda side, **more: side.openai.embeddings.create(model="e", input=TEXT, **more),
    "messages": lambda side, **more: side.anthropic.messages.create(
        model="echo", max_tokens=9, messages=SAID, metadata={"user_id": "u-1"}, **more
    ),
}


@pytest.mark.parametrize("api", CALLS)
def test_the_request_arrives_as_it_was_sent(standin, direct, through, api):
    ours = {"x-tabellion-case": "C-5", "x-tabellion-actor": "me", "x-tabellion-tag-team": "blue", "x-other": "kept"}
    first, second = both_requests(standin, direct, through, lambda side: CALLS[api](side, extra_headers=ours))
    assert body_of(first) == body_of(second)
    assert (first["path"], first["query"], first["method"]) == (second["path"], second["query"], second["method"])
    expected = {name: value for name, value in headers_of(first).items() if not name.startswith("x-tabellion-")}
    arrived = headers_of(second)
    assert not [name for name in arrived if name.startswith("x-tabellion-")]
    for name in expected.keys() - HOP:
        assert arrived.get(name) == expected[name], name
    assert arrived.keys() - expected.keys() - HOP == set()
    # Anthropic's SDK sends `authorization` today, and sent `x-api-key` before 2.0.
    assert "sk-test-0123456789abcdef" in arrived.get("authorization", "") + arrived.get("x-api-key", "")


def test_bytes_that_no_sdk_would_write_arrive_too(standin, through):
    """Order, spaces, repeated keys, escapes, numbers: nothing may be parsed and written again."""
    odd = (
        '{ "messages":[{"role":"user","content":"\\u00e9\\/ 1"}],\r\n\t"temperature":0.20000, "model" : "echo",'
        '"seed":12345678901234567890123, "x":1, "x":2 }\n'
    ).encode()
    standin.forget()
    answer = httpx.post(
        f"{through.openai_url}/chat/completions?api-version=2026%2D01&x=",
        content=odd,
        headers={"authorization": "Bearer sk-x", "content-type": "application/json"},
        timeout=CLIENT_S_MAX,
    )
    assert answer.status_code == 200
    [request] = standin.requests()["last"]
    assert body_of(request) == odd
    assert request["query"] == "api-version=2026%2D01&x="


ANSWERS = list(
    itertools.product(["chat/completions", "responses", "completions", "embeddings"], ["echo-3", "tool", "gzip", "error-429"], [False, True])
)


@pytest.mark.parametrize(("path", "model", "stream"), ANSWERS)
def test_the_answer_arrives_as_it_was_sent(direct, through, path, model, stream):
    body = {"model": model, "stream": stream, "messages": SAID, "input": TEXT, "prompt": TEXT}
    answers = []
    for side in (direct, through):
        # Asking for gzip, as every SDK does. Raw: not decoded by the client.
        with httpx.stream("POST", f"{side.openai_url}/{path}", json=body, timeout=CLIENT_S_MAX) as answer:
            answers.append((answer.status_code, dict(answer.headers), b"".join(answer.iter_raw())))
    (status, headers, sent), (through_status, through_headers, arrived) = answers
    assert (through_status, arrived) == (status, sent)
    passing = HOP | {"date", "keep-alive", "server", "via"}
    for name in headers.keys() - passing:
        assert through_headers.get(name) == headers[name], name
    added = through_headers.keys() - headers.keys() - passing
    assert all(name.startswith("x-tabellion-") for name in added), added
    if model == "gzip":
        assert through_headers["content-encoding"] == "gzip"
        assert gzip.decompress(arrived)


@pytest.mark.parametrize("api", CALLS)
def test_the_answer_names_its_record(through, api):
    resource = {
        "chat": through.openai.chat.completions,
        "responses": through.openai.responses,
        "embeddings": through.openai.embeddings,
        "messages": through.anthropic.messages,
    }[api]
    said = {
        "chat": {"messages": SAID},
        "responses": {"input": TEXT},
        "embeddings": {"input": TEXT},
        "messages": {"messages": SAID, "max_tokens": 9},
    }[api]
    seen = [resource.with_raw_response.create(model="echo", **said) for _ in range(2)]
    exchanges = [answer.headers["x-tabellion-exchange"] for answer in seen]
    entries = [int(answer.headers["x-tabellion-entry"]) for answer in seen]
    assert exchanges[0] != exchanges[1]
    assert entries[0] < entries[1]
    assert seen[0].parse()


def test_a_streamed_answer_names_its_record_at_once(through):
    raw = through.openai.chat.completions.with_raw_response
    answer = raw.create(model="echo", messages=SAID, stream=True)
    assert answer.headers["x-tabellion-exchange"]
    assert int(answer.headers["x-tabellion-entry"]) >= 0
    for _ in answer.parse():
        pass


def test_an_upstream_can_be_named(gateway, direct):
    body = {"model": "echo", "messages": SAID}
    expected = httpx.post(f"{direct.openai_url}/chat/completions", json=body).content
    named = httpx.post(f"{gateway.url}/openai/v1/chat/completions", json=body, timeout=CLIENT_S_MAX)
    assert named.content == expected
