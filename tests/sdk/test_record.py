"""What is left when the server has stopped: all of it, checked, and nothing personal."""

import json

import openai
import pytest

from harness import EMAIL, PLANTED, TEXT, Gateway, drained, gateway_side, leaks, planted_archive

SAID = [{"role": "user", "content": TEXT}]
CASE = {"x-tabellion-case": "C-1042", "x-tabellion-actor": "tests"}
FIELDS = {"exchange", "entry", "time", "case", "actor", "model", "outcome", "findings", "snippet"}


@pytest.fixture(scope="module")
def kept(standin, tmp_path_factory):
    """A gateway that has served some of everything and stopped."""
    gateway = Gateway(tmp_path_factory.mktemp("record"), standin.url)
    side = gateway_side(gateway)
    chat = side.openai.chat.completions
    raw = chat.with_raw_response.create(model="echo", messages=SAID, extra_headers=CASE)
    gateway.exchange = raw.headers["x-tabellion-exchange"]
    gateway.entry = int(raw.headers["x-tabellion-entry"])
    # Each of these has a planted value cut in another way.
    drained(chat.create(model="echo-1", messages=SAID, stream=True, extra_headers=CASE))
    drained(chat.create(model="tool-1", messages=SAID, stream=True))
    drained(chat.create(model="echo-2", messages=SAID, stream=True, extra_headers={"x-standin": "split,gzip"}))
    drained(side.openai.responses.create(model="echo-1", input=TEXT, stream=True))
    drained(side.openai.responses.create(model="tool-1", input=TEXT, stream=True))
    drained(side.openai.completions.create(model="echo-1", prompt=TEXT, stream=True))
    for model in ("echo-1", "tool-1", "break", "nodone", "fail"):
        drained(side.anthropic.messages.create(model=model, max_tokens=9, messages=SAID, stream=True))
    side.openai.embeddings.create(model="e", input=[TEXT], user=EMAIL)
    side.openai.responses.create(model="loan", input=TEXT, metadata={"customer": EMAIL})
    for model in ("error-400", "error-401", "error-429", "error-503", "break", "drop"):
        with pytest.raises(openai.APIError):
            chat.create(model=model, messages=SAID)
    gone = chat.create(model="hang", messages=SAID, stream=True, extra_headers={"x-tabellion-case": "C-GONE"})
    next(iter(gone))
    before = standin.requests()["scripted"]["abandoned"]
    gone.close()
    standin.wait_until(lambda seen: seen["scripted"]["abandoned"] > before, "the provider was not freed")
    side.close()
    assert gateway.stop() == 0, gateway.log.read_text()
    return gateway


def test_it_verifies(kept):
    done = kept.verify()
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_a_copy_that_was_changed_does_not(kept, tmp_path):
    """Or verifying would prove nothing."""
    copy = tmp_path / "data"
    done = kept.command("verify", str(kept.data))
    assert done.returncode == 0
    for path in sorted(kept.data.rglob("*")):
        target = copy / path.relative_to(kept.data)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    entries = next(path for path in sorted((copy / "log" / "tile" / "entries").rglob("*")) if path.is_file())
    changed = bytearray(entries.read_bytes())
    changed[len(changed) // 2] ^= 1
    entries.write_bytes(changed)
    assert kept.command("verify", str(copy)).returncode == 1


def test_nothing_personal_is_in_any_file(kept):
    assert leaks(kept.home) == []


def test_this_would_be_seen(tmp_path):
    planted_archive(tmp_path / "packed")
    assert {value for _, value in leaks(tmp_path)} == {EMAIL, "536-90-4399"}


def test_search_finds_the_case(kept):
    hits = kept.search("--case", "C-1042")
    assert {hit["exchange"] for hit in hits} >= {kept.exchange}
    assert len({hit["exchange"] for hit in hits}) == 2
    for hit in hits:
        assert FIELDS <= hit.keys()
        assert hit["case"] == "C-1042"
        assert not [value for value in PLANTED if value in json.dumps(hit, ensure_ascii=False)]
    assert any(hit["actor"] for hit in hits)
    assert any("EMAIL_ADDRESS" in hit["findings"] for hit in hits)


def test_search_that_finds_nothing_says_so(kept):
    done = kept.command("search", "--data", str(kept.data), "--json", "--case", "C-NONE")
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_client_that_went_away_is_on_the_record(kept):
    hits = kept.search("--case", "C-GONE")
    assert "client_gone" in {hit["outcome"] for hit in hits}


def test_show(kept):
    done = kept.command("show", "--data", str(kept.data), kept.exchange)
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "[EMAIL_ADDRESS:" in shown
    assert not [value for value in PLANTED if value in shown]


def test_prove_and_check_the_proof(kept, tmp_path):
    done = kept.command("prove", "--data", str(kept.data), kept.exchange)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"c2sp.org/tlog-proof@v1\n")
    proof = tmp_path / "exchange.tlog-proof"
    proof.write_bytes(done.stdout)
    vkey = (kept.data / "log.vkey").read_text().splitlines()[0]
    checked = kept.command("verify", str(proof), "--vkey", vkey)
    assert checked.returncode == 0, checked.stderr.decode()
