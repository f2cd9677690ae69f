"""OpenAI's SDK gets through the gateway what it gets without it."""

import asyncio
import json

import pydantic
import pytest

from harness import TEXT, drained, drained_async

SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"customer": {"type": "string"}}, "required": ["customer"]}
CHAT_TOOL = {"type": "function", "function": {"name": "find_customer", "parameters": SCHEMA}}
TOOL = {"type": "function", "name": "find_customer", "parameters": SCHEMA, "strict": False}
MODELS = ["gpt-4o-mini", "echo-1", "echo-7", "tool-3", "support", "loan", "big-100000"]
DELIVERIES = ["gzip", "split", "split,gzip", "pace_ms=1"]


def text_of(chunks):
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize("model", MODELS)
def test_chat(works, model):
    works(lambda side: side.openai.chat.completions.create(model=model, messages=SAID))


@pytest.mark.parametrize("model", MODELS)
def test_chat_stream(works, model):
    def call(side):
        stream = side.openai.chat.completions.create(
            model=model, messages=SAID, stream=True, stream_options={"include_usage": True}
        )
        return drained(stream)

    chunks = works(call)
    assert chunks[-1]["usage"]
    if model.startswith("echo"):
        assert text_of(chunks) == TEXT


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("stream", [False, True])
def test_chat_however_it_travels(works, delivery, stream):
    def call(side):
        answer = side.openai.chat.completions.create(
            model="echo-2", messages=SAID, stream=stream, extra_headers={"x-standin": delivery}
        )
        return drained(answer) if stream else answer

    works(call)


@pytest.mark.parametrize("model", ["echo-5", "tool-4", "loan"])
def test_chat_async(works, model):
    async def both_ways(side):
        async with side.async_openai() as client:
            plain_answer = await client.chat.completions.create(model=model, messages=SAID)
            stream = await client.chat.completions.create(model=model, messages=SAID, stream=True)
            return [plain_answer, await drained_async(stream)]

    works(lambda side: asyncio.run(both_ways(side)))


def test_many_at_once(works):
    async def many(side):
        async with side.async_openai() as client:

            async def one(number):
                said = [{"role": "user", "content": f"{number}: {TEXT}"}]
                if number % 2:
                    return await client.chat.completions.create(model="echo-9", messages=said)
                stream = await client.chat.completions.create(model="echo-9", messages=said, stream=True)
                return await drained_async(stream)

            return await asyncio.gather(*(one(number) for number in range(40)))

    answers = works(lambda side: asyncio.run(many(side)))
    assert answers[7]["choices"][0]["message"]["content"].startswith("7: ")


def test_several_choices(works):
    answer = works(lambda side: side.openai.chat.completions.create(model="echo", messages=SAID, n=3))
    assert len(answer["choices"]) == 3
    works(lambda side: drained(side.openai.chat.completions.create(model="echo", messages=SAID, n=3, stream=True)))


def test_content_in_parts(works):
    content = [
        {"type": "text", "text": TEXT},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "text", "text": "And the picture?"},
    ]
    said = [{"role": "user", "content": content}]
    answer = works(lambda side: side.openai.chat.completions.create(model="echo", messages=said))
    assert answer["choices"][0]["message"]["content"] == f"{TEXT}\nAnd the picture?"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_and_its_result(works, stream):
    def call(side):
        ask = {"model": "tool-2", "tools": [CHAT_TOOL]}
        first = side.openai.chat.completions.create(messages=SAID, **ask)
        called = first.choices[0].message
        assert json.loads(called.tool_calls[0].function.arguments) == {"customer": TEXT}
        result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": f"found {TEXT}"}
        messages = [*SAID, called.to_dict(), result]
        second = side.openai.chat.completions.create(messages=messages, stream=stream, **ask)
        return [first, drained(second) if stream else second]

    works(call)


@pytest.mark.parametrize("model", ["echo-4", "tool-4"])
def test_chat_stream_helper(works, model):
    def call(side):
        with side.openai.chat.completions.stream(model=model, messages=SAID, tools=[CHAT_TOOL]) as stream:
            events = drained(stream)
            return [events, stream.get_final_completion()]

    works(call)


class Person(pydantic.BaseModel):
    name: str
    email: str


def test_structured_output(works):
    said = [{"role": "user", "content": json.dumps({"name": "Anna", "email": "anna.kowalska@nordwind-bank.de"})}]

    def call(side):
        answer = side.openai.chat.completions.parse(model="echo", messages=said, response_format=Person)
        assert isinstance(answer.choices[0].message.parsed, Person)
        return answer

    works(call)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "echo-3", "tool-3", "loan"])
@pytest.mark.parametrize("stream", [False, True])
def test_responses(works, model, stream):
    def call(side):
        answer = side.openai.responses.create(
            model=model,
            instructions="Be brief.",
            input=TEXT,
            tools=[TOOL],
            metadata={"case_id": "C-7"},
            stream=stream,
        )
        return drained(answer) if stream else answer

    answer = works(call)
    if stream:
        assert [event["sequence_number"] for event in answer] == list(range(len(answer)))


def test_responses_with_parts_and_a_tools_result(works):
    content = [{"type": "input_text", "text": TEXT}, {"type": "input_image", "image_url": PIXEL, "detail": "low"}]
    said = [{"role": "user", "content": content}]
    works(lambda side: side.openai.responses.create(model="echo", input=said))
    result = [
        *said,
        {"type": "function_call", "call_id": "call_1", "name": "find_customer", "arguments": json.dumps({"customer": TEXT})},
        {"type": "function_call_output", "call_id": "call_1", "output": TEXT},
    ]
    works(lambda side: drained(side.openai.responses.create(model="tool", input=result, tools=[TOOL], stream=True)))


@pytest.mark.parametrize("model", ["echo-4", "tool-4"])
def test_responses_stream_helper(works, model):
    def call(side):
        with side.openai.responses.stream(model=model, input=TEXT, tools=[TOOL]) as stream:
            events = drained(stream)
            return [events, stream.get_final_response()]

    works(call)


def test_responses_async(works):
    async def ask(side):
        async with side.async_openai() as client:
            stream = await client.responses.create(model="echo-2", input=TEXT, stream=True)
            return [await client.responses.create(model="echo", input=TEXT), await drained_async(stream)]

    works(lambda side: asyncio.run(ask(side)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", [TEXT, [TEXT, "and more"]], ids=["one", "several"])
def test_completions(works, stream, prompt):
    def call(side):
        answer = side.openai.completions.create(model="echo-6", prompt=prompt, stream=stream)
        return drained(answer) if stream else answer

    works(call)


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=str)
@pytest.mark.parametrize("said", [TEXT, [TEXT, "b"], [[1, 2, 3], [4]]], ids=["one", "several", "tokens"])
def test_embeddings(works, encoding, said):
    works(
        lambda side: side.openai.embeddings.create(
            model="text-embedding-3-small", input=said, dimensions=12, **encoding
        )
    )


def test_embeddings_async(works):
    async def ask(side):
        async with side.async_openai() as client:
            return await client.embeddings.create(model="text-embedding-3-small", input=[TEXT])

    works(lambda side: asyncio.run(ask(side)))


def test_models(works):
    assert works(lambda side: list(side.openai.models.list()))
    assert works(lambda side: side.openai.models.retrieve("gpt-4o-mini"))["id"] == "gpt-4o-mini"
