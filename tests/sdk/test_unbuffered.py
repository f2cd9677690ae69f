"""A stream is not held back. Shown without a clock: the stand-in sends event k + 1
only after the client has read event k and said so."""

import asyncio
import itertools

import pytest

from harness import TEXT, drained

SAID = [{"role": "user", "content": TEXT[:60]}]
names = itertools.count()

STREAMS = {
    "chat": lambda side, model: side.openai.chat.completions.create(model=model, messages=SAID, stream=True),
    "responses": lambda side, model: side.openai.responses.create(model=model, input=TEXT[:60], stream=True),
    "completions": lambda side, model: side.openai.completions.create(model=model, prompt=TEXT[:60], stream=True),
    "messages": lambda side, model: side.anthropic.messages.create(
        model=model, max_tokens=99, messages=SAID, stream=True
    ),
}
# All text comes in twelve pieces of five characters, after at most four events.
LOCKSTEP = 12


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("way", ["direct", "through"])
def test_each_event_arrives_before_the_next_is_sent(standin, request, way, api):
    side = request.getfixturevalue(way)
    gate = f"step{next(names)}"
    standin.release(gate)
    stream = iter(STREAMS[api](side, f"gate-{gate}"))
    # Were one held back, this would wait for ever; the client's patience ends it.
    for seen in range(LOCKSTEP):
        event = next(stream)
        # The SDK keeps a ping to itself, so that the stand-in is one further.
        if getattr(event, "type", "") == "content_block_start":
            standin.release(gate)
        if seen + 1 < LOCKSTEP:
            standin.release(gate)
    standin.release(gate, 1000)
    assert drained(stream), "the rest"


def test_each_event_arrives_before_the_next_is_sent_async(standin, through):
    gate = f"step{next(names)}"

    async def steps():
        async with through.async_openai() as client:
            standin.release(gate)
            stream = await client.chat.completions.create(model=f"gate-{gate}", messages=SAID, stream=True)
            events = aiter(stream)
            for _ in range(LOCKSTEP):
                await anext(events)
                standin.release(gate)
            standin.release(gate, 1000)
            return [event async for event in events]

    assert asyncio.run(steps())


def test_streams_do_not_wait_for_each_other(standin, through):
    """One that has stopped must not stop another, nor a plain answer."""
    held, free = f"step{next(names)}", f"step{next(names)}"
    standin.release(held)
    one = iter(STREAMS["chat"](through, f"gate-{held}"))
    next(one)
    standin.release(free, 1000)
    assert drained(STREAMS["messages"](through, f"gate-{free}"))
    assert through.openai.chat.completions.create(model="echo", messages=SAID)
    standin.release(held, 1000)
    assert drained(one)


@pytest.mark.parametrize("api", STREAMS)
def test_a_client_that_goes_away_frees_the_provider(standin, through, api):
    before = standin.requests()["scripted"]["abandoned"]
    stream = STREAMS[api](through, "hang")
    next(iter(stream))
    stream.close()
    standin.wait_until(
        lambda seen: seen["scripted"]["abandoned"] > before, "the gateway still reads for a client that is gone"
    )
    assert through.openai.chat.completions.create(model="echo", messages=SAID)
