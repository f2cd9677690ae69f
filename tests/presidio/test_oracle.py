"""Presidio's own anonymizer and ours are given the same spans and operators, and must give the same."""

import random

import pytest
from presidio_anonymizer import AnonymizerEngine, DeanonymizeEngine
from presidio_anonymizer.entities import InvalidParamError, OperatorConfig, OperatorResult, RecognizerResult

TEXT = "I'm Zoë Doe 😀 of George Washington Square Park; 4151 3217 6243 3448.com, a@x.com b@y.com.   Bye"
ENTITIES = ["PERSON", "LOCATION", "CREDIT_CARD", "URL"]
SEEDS = range(400)


def operator(dice):
    return dice.choice(
        [
            {"type": "replace"},
            {"type": "replace", "new_value": dice.choice(["", "X", "ünïcode 😀"])},
            {"type": "redact"},
            {"type": "keep"},
            {
                "type": "mask",
                "masking_char": dice.choice(["*", "•", ""]),
                "chars_to_mask": dice.choice([-1, 0, 1, 4, 100]),
                "from_end": dice.choice([True, False]),
            },
            {"type": "hash", "hash_type": dice.choice(["sha256", "sha512"]), "salt": "a salt of 16 byte"},
        ]
    )


def spans(dice):
    for _ in range(dice.randrange(7)):
        start = dice.randrange(len(TEXT))
        end = min(len(TEXT), start + dice.choice([0, 1, 3, 5, 10, 30]))
        score = dice.choice([0.1, 0.5, 0.85, 1.0])
        yield {"start": start, "end": end, "score": score, "entity_type": dice.choice(ENTITIES)}


def theirs(text, results, operators):
    answer = AnonymizerEngine().anonymize(
        text,
        [RecognizerResult.from_json(result) for result in results],
        {entity: OperatorConfig.from_json(dict(config)) for entity, config in operators.items()},
    )
    members = ("start", "end", "entity_type", "text", "operator")
    return {"text": answer.text, "items": [{name: getattr(item, name) for name in members} for item in answer.items]}


@pytest.mark.parametrize("seed", SEEDS)
def test_anonymizes_as_presidio_does(presidio, seed):
    dice = random.Random(seed)
    results = list(spans(dice))
    operators = {entity: operator(dice) for entity in dice.sample([*ENTITIES, "DEFAULT"], dice.randrange(4))}
    status, ours = presidio.post(
        "anonymize", {"text": TEXT, "analyzer_results": results, "anonymizers": operators}
    )
    assert (status, ours) == (200, theirs(TEXT, results, operators))


@pytest.mark.parametrize(
    "config",
    [
        {"type": "Reverser"},
        {"type": "decrypt", "key": "1111111111111111"},
        {"type": "mask"},
        {"type": "mask", "masking_char": "ab", "chars_to_mask": 1, "from_end": True},
        {"type": "mask", "masking_char": "*", "chars_to_mask": "1", "from_end": True},
        {"type": "mask", "masking_char": "*", "chars_to_mask": 1},
        {"type": "hash", "hash_type": "md5"},
        {"type": "hash", "salt": ""},
        {"type": "hash", "salt": "short"},
        {"type": "encrypt"},
        {"type": "encrypt", "key": "short"},
        {"type": "replace", "new_value": ["x"]},
    ],
)
def test_refuses_operators_in_presidios_words(presidio, config):
    results = [{"start": 4, "end": 11, "score": 0.5, "entity_type": "PERSON"}]
    with pytest.raises(InvalidParamError) as refused:
        theirs(TEXT, results, {"DEFAULT": config})
    answer = presidio.post("anonymize", {"text": TEXT, "analyzer_results": results, "anonymizers": {"DEFAULT": config}})
    assert answer == (422, {"error": refused.value.err_msg})


@pytest.mark.parametrize("key", ["1" * 16, "k" * 24, "ö" * 16])
def test_each_decrypts_what_the_other_encrypted(presidio, key):
    results = [{"start": 4, "end": 11, "score": 0.5, "entity_type": "PERSON"}]
    hide = {"PERSON": {"type": "encrypt", "key": key}}
    show = {"PERSON": {"type": "decrypt", "key": key}}

    encrypted = theirs(TEXT, results, hide)
    status, shown = presidio.post(
        "deanonymize", {"text": encrypted["text"], "anonymizer_results": encrypted["items"], "deanonymizers": show}
    )
    assert (status, shown["text"]) == (200, TEXT)

    status, encrypted = presidio.post(
        "anonymize", {"text": TEXT, "analyzer_results": results, "anonymizers": hide}
    )
    assert status == 200 and "Zoë Doe" not in encrypted["text"]
    shown = DeanonymizeEngine().deanonymize(
        encrypted["text"],
        [OperatorResult.from_json(item) for item in encrypted["items"]],
        {entity: OperatorConfig.from_json(dict(config)) for entity, config in show.items()},
    )
    assert shown.text == TEXT
