"""What goes wrong at the provider goes wrong in the same way through the gateway."""

import anthropic
import openai
import pytest

from harness import TEXT, drained

SAID = [{"role": "user", "content": TEXT}]
STATUSES = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529]

CALLS = {
    "chat": lambda side, model, stream: side.openai.chat.completions.create(model=model, messages=SAID, stream=stream),
    "responses": lambda side, model, stream: side.openai.responses.create(model=model, input=TEXT, stream=stream),
    "completions": lambda side, model, stream: side.openai.completions.create(model=model, prompt=TEXT, stream=stream),
    "messages": lambda side, model, stream: side.anthropic.messages.create(
        model=model, max_tokens=99, messages=SAID, stream=stream
    ),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("api", CALLS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_providers_errors(same, api, status, stream):
    failed = same(lambda side: CALLS[api](side, f"error-{status}", stream))
    assert failed["status"] == status
    said = failed["body"]["error"] if api == "messages" else failed["body"]
    assert TEXT in said["message"]
    assert (failed["retry-after"] is not None) == (status == 429)


def test_embeddings_errors(same):
    failed = same(lambda side: side.openai.embeddings.create(model="error-400", input=TEXT))
    assert failed["status"] == 400


def test_a_model_that_does_not_exist(same):
    assert same(lambda side: side.openai.models.retrieve("none"))["raises"] == "NotFoundError"
    assert same(lambda side: side.anthropic.models.retrieve("none"))["raises"] == "NotFoundError"


@pytest.mark.parametrize("api", CALLS)
def test_a_stream_that_breaks_off(same, api):
    events = same(lambda side: drained(CALLS[api](side, "break", True)))
    assert events[-1]["raises"] == "a broken connection"
    assert len(events) > 1, "what came before the break must arrive"


@pytest.mark.parametrize("api", CALLS)
def test_a_stream_without_its_terminal_event(same, api):
    events = same(lambda side: drained(CALLS[api](side, "nodone", True)))
    assert len(events) > 1


@pytest.mark.parametrize("api", CALLS)
def test_a_stream_that_turns_into_an_error(same, api):
    events = same(lambda side: drained(CALLS[api](side, "fail", True)))
    assert len(events) > 1


# Once the head of an answer is out, all that a gateway can do is break off, too.
# Before that it may say what happened. Both are what the SDKs retry.
BROKEN_OR_SAID = (
    openai.APIConnectionError,
    openai.InternalServerError,
    anthropic.APIConnectionError,
    anthropic.InternalServerError,
)


@pytest.mark.parametrize("api", CALLS)
@pytest.mark.parametrize("model", ["break", "drop"])
def test_an_answer_that_breaks_off(direct, through, api, model):
    for side in (direct, through):
        with pytest.raises(BROKEN_OR_SAID):
            CALLS[api](side, model, False)


@pytest.mark.parametrize("api", CALLS)
def test_a_stream_that_never_begins(direct, through, api):
    for side in (direct, through):
        with pytest.raises(BROKEN_OR_SAID):
            drained_or_raised(CALLS[api](side, "drop", True))


def drained_or_raised(stream):
    for _ in stream:
        pass


def test_the_sdks_own_retries_still_work(standin, through):
    standin.forget()
    with pytest.raises(openai.InternalServerError):
        through.openai.with_options(max_retries=1).chat.completions.create(model="error-500", messages=SAID)
    seen = standin.requests()
    assert seen["counts"] == {"/v1/chat/completions": 2}
    counts = [dict(request["headers"]).get("x-stainless-retry-count") for request in seen["last"]]
    assert counts == ["0", "1"]
