"""Anthropic's SDK gets through the gateway what it gets without it."""

import asyncio

import pytest

from harness import TEXT, drained, drained_async

SAID = [{"role": "user", "content": TEXT}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "name": "find_customer",
    "description": "Finds a customer",
    "input_schema": {"type": "object", "properties": {"customer": {"type": "string"}}, "required": ["customer"]},
}


def ask(model, **more):
    return {"model": model, "max_tokens": 1024, "system": "Be brief.", "messages": SAID, **more}


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "echo-1", "echo-7", "tool-3", "support", "loan", "big-100000"])
@pytest.mark.parametrize("stream", [False, True])
def test_messages(works, model, stream):
    def call(side):
        answer = side.anthropic.messages.create(**ask(model, stream=stream, tools=[TOOL]))
        return drained(answer) if stream else answer

    events = works(call)
    if stream and model.startswith("echo"):
        assert "".join(event.get("delta", {}).get("text") or "" for event in events) == TEXT


@pytest.mark.parametrize("delivery", ["gzip", "split", "split,gzip", "pace_ms=1"])
@pytest.mark.parametrize("stream", [False, True])
def test_messages_however_they_travel(works, delivery, stream):
    def call(side):
        answer = side.anthropic.messages.create(**ask("echo-2", stream=stream), extra_headers={"x-standin": delivery})
        return drained(answer) if stream else answer

    works(call)


def test_messages_async(works):
    async def both_ways(side):
        async with side.async_anthropic() as client:
            answer = await client.messages.create(**ask("loan"))
            stream = await client.messages.create(**ask("loan", stream=True))
            return [answer, await drained_async(stream)]

    works(lambda side: asyncio.run(both_ways(side)))


def test_content_in_parts(works):
    content = [
        {"type": "text", "text": TEXT},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "text", "text": "And the picture?"},
    ]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    said = ask("echo", messages=[{"role": "user", "content": content}], system=system)
    answer = works(lambda side: side.anthropic.messages.create(**said))
    assert answer["content"][0]["text"] == f"{TEXT}\nAnd the picture?"


def test_a_tool_call_and_its_result(works):
    def call(side):
        first = side.anthropic.messages.create(**ask("tool-2", tools=[TOOL]))
        assert first.content[0].input == {"customer": TEXT}
        result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": f"found {TEXT}"}
        used = {"type": "tool_use", "id": first.content[0].id, "name": "find_customer", "input": first.content[0].input}
        messages = [*SAID, {"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
        return [first, side.anthropic.messages.create(**ask("tool-2", tools=[TOOL], messages=messages))]

    works(call)


@pytest.mark.parametrize("model", ["echo-4", "tool-4", "loan"])
def test_stream_helper(works, model):
    def call(side):
        with side.anthropic.messages.stream(**ask(model, tools=[TOOL])) as stream:
            events = drained(stream)
            return [events, stream.get_final_message()]

    works(call)


def test_text_stream(works):
    def call(side):
        with side.anthropic.messages.stream(**ask("echo-4")) as stream:
            return "".join(stream.text_stream)

    assert works(call) == TEXT


def test_async_stream_helper(works):
    async def call(side):
        async with side.async_anthropic() as client, client.messages.stream(**ask("echo-4")) as stream:
            return [await drained_async(stream), await stream.get_final_message()]

    works(lambda side: asyncio.run(call(side)))


def test_count_tokens(works):
    works(lambda side: side.anthropic.messages.count_tokens(model="echo", messages=SAID))


def test_models(works):
    assert works(lambda side: list(side.anthropic.models.list()))
    works(lambda side: side.anthropic.models.retrieve("claude-sonnet-5-5"))
