"""LiteLLM's Presidio guardrail, as LiteLLM ships it, with our server's address in its environment."""

import asyncio

import pytest
from litellm.caching.caching import DualCache
from litellm.exceptions import BlockedPiiEntityError
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.guardrails.guardrail_hooks.presidio import _OPTIONAL_PresidioPIIMasking
from litellm.types.guardrails import PiiAction

EMAIL = "anna.kowalska@nordwind-bank.de"
PHONE = "+1 650-253-0000"
CARD = "4111 1111 1111 1111"


@pytest.fixture
def masked(presidio, monkeypatch):
    """Sends messages through a guardrail, and gives what the model would be sent."""
    monkeypatch.setenv("PRESIDIO_ANALYZER_API_BASE", presidio.base)
    monkeypatch.setenv("PRESIDIO_ANONYMIZER_API_BASE", presidio.base)

    def through(*contents, **settings):
        async def call():
            guardrail = _OPTIONAL_PresidioPIIMasking(
                guardrail_name="presidio", event_hook="pre_call", default_on=True, **settings
            )
            data = {"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}
            try:
                data = await guardrail.async_pre_call_hook(UserAPIKeyAuth(), DualCache(), data, "completion")
            finally:
                await guardrail._close_http_session()
            return [message["content"] for message in data["messages"]], data

        return asyncio.run(call())

    return through


def test_masks_what_personal_data_messages_hold(masked):
    contents, _ = masked(
        f"Grüße 😀, my e-mail address is {EMAIL}.",
        f"My credit card number is {CARD}, my phone number is {PHONE}.",
        [{"type": "text", "text": f"again: {EMAIL}"}],
        "Nothing here.",
    )
    assert contents == [
        "Grüße 😀, my e-mail address is <EMAIL_ADDRESS>.",
        "My credit card number is <CREDIT_CARD>, my phone number is <PHONE_NUMBER>.",
        [{"type": "text", "text": "again: <EMAIL_ADDRESS>"}],
        "Nothing here.",
    ]


def test_masks_only_the_entities_that_are_configured(masked):
    contents, _ = masked(f"{EMAIL} {CARD}", pii_entities_config={"CREDIT_CARD": PiiAction.MASK})
    assert contents == [f"{EMAIL} <CREDIT_CARD>"]


def test_blocks_what_is_to_be_blocked(masked):
    with pytest.raises(BlockedPiiEntityError):
        masked(f"pay with {CARD}", pii_entities_config={"CREDIT_CARD": PiiAction.BLOCK})


def test_respects_thresholds_of_the_caller(masked):
    contents, _ = masked(f"{EMAIL} {CARD}", presidio_score_thresholds={"ALL": 0.8})
    assert contents == ["<EMAIL_ADDRESS> <CREDIT_CARD>"]


def test_numbers_tokens_that_the_answer_is_to_be_restored_from(masked):
    contents, data = masked(f"write to {EMAIL}, then to jo@example.com", output_parse_pii=True)
    tokens = data["metadata"]["pii_tokens"]
    assert sorted(tokens.values()) == sorted([EMAIL, "jo@example.com"])
    restored = contents[0]
    assert EMAIL not in restored
    for token, value in tokens.items():
        restored = restored.replace(token, value)
    assert restored == f"write to {EMAIL}, then to jo@example.com"


def test_long_texts_come_in_pieces(masked):
    text = ("Lorem ipsum dolor sit amet. " * 400 + f"My e-mail address is {EMAIL}. ") * 3
    contents, _ = masked(text, presidio_analyze_chunk_size_bytes=10_000)
    assert contents == [text.replace(EMAIL, "<EMAIL_ADDRESS>")]
