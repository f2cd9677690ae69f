"""OpenTimestamps with the official client, both ways, over a calendar and a
chain that are stand-ins (see ots_calendar.py)."""

import os
import shutil
import subprocess

import pytest
from conftest import OTS, eventually
from ots_calendar import Calendar


@pytest.fixture
def calendar():
    calendar = Calendar()
    yield calendar
    calendar.close()


def configuration(url, more=""):
    return f'[[anchor]]\nname = "ots"\nkind = "opentimestamps"\nurl = "{url}"\ntimeout_s = 2\n{more}\n'


def ots(*args):
    done = subprocess.run([OTS, "--no-cache", *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def header_file(log, calendar, height):
    path = os.path.join(log.home, "header")
    with open(path, "w") as f:
        f.write(calendar.headers[height].hex() + "\n")
    return path


def test_the_official_client_verifies_ours(log, calendar):
    log.configure(configuration(calendar.url))
    message, size = log.message()
    assert "promised" in log.run("anchor").stdout
    pending = f"{size}.pending.ots"
    assert log.anchors() == [pending]
    code, said = ots("--bitcoin-node", calendar.url, "--whitelist", calendar.url, "verify", "-f", message, log.path(pending))
    assert code != 0 and "Pending" in said, said
    report = log.verify()
    assert "promise" in report["anchors"]["unchecked"][0]["why"] and report["anchors"]["existed"] == []

    height = calendar.mine()
    # The command asks after promises first.
    assert f"anchors/{size}.ots" in log.run("anchor").stdout
    assert f"{size}.ots" in log.anchors() and pending in log.anchors()
    code, said = ots("--bitcoin-node", calendar.url, "verify", "-f", message, log.path(f"{size}.ots"))
    assert code == 0 and f"Bitcoin block {height} attests" in said, said

    # A block of this chain takes next to no work, which must not pass for one of Bitcoin's.
    header = header_file(log, calendar, height)
    report = log.verify("--bitcoin-header", header, code=1)
    assert "took only" in report["anchors"]["contradicted"][0]["wrong"]
    for how in [("--bitcoin-header", header), ("--bitcoin-node", calendar.url), ("--bitcoin-node", calendar.url.replace("://", "://user:secret@"))]:
        report = log.verify(*how, "--bitcoin-work-min", "1")
        (existed,) = report["anchors"]["existed"]
        assert existed["size"] == size and existed["by"].startswith(f"Bitcoin block {height}, "), existed
    # Without the right header there is nothing to check with.
    for how in [(), ("--bitcoin-header", header_file(log, calendar, 0))]:
        report = log.verify(*how, "--bitcoin-work-min", "1")
        assert report["anchors"]["existed"] == []
        assert f"block {height} was not given" in str(report["anchors"]["unchecked"])
    # A node that has another block there contradicts the proof.
    calendar.headers[height] = calendar.header(bytes(32), bytes(32))
    report = log.verify("--bitcoin-node", calendar.url, "--bitcoin-work-min", "1", code=1)
    assert "another Merkle root" in report["anchors"]["contradicted"][0]["wrong"]


def test_we_verify_the_official_client_s(log, calendar):
    message, size = log.message()
    code, said = ots("stamp", "-c", calendar.url, "-m", "1", message)
    assert code == 0, said
    height = calendar.mine()
    code, said = ots("--whitelist", calendar.url, "upgrade", f"{message}.ots")
    assert code == 0, said
    os.makedirs(os.path.join(log.data, "anchors"))
    shutil.copy(f"{message}.ots", log.path(f"{size}.ots"))
    report = log.verify("--bitcoin-header", header_file(log, calendar, height), "--bitcoin-work-min", "1")
    assert [one["size"] for one in report["anchors"]["existed"]] == [size]
    # Under another size it is about other bytes.
    os.rename(log.path(f"{size}.ots"), log.path(f"{size - 1}.ots"))
    report = log.verify(code=1)
    assert "about other bytes" in report["anchors"]["contradicted"][0]["wrong"]
    with open(log.path(f"{size - 1}.ots"), "wb") as f:
        f.write(b"garbage")
    assert "malformed" in log.verify(code=1)["anchors"]["contradicted"][0]["wrong"]


def test_a_server_anchors_upgrades_and_declares(log, calendar):
    log.configure(configuration(calendar.url, "every_s = 1"))

    def declared():
        if calendar.waiting:
            calendar.mine()
        if not any(name.endswith(".ots") and "pending" not in name for name in log.anchors()):
            return False
        anchors = log.verify("--bitcoin-node", calendar.url, "--bitcoin-work-min", "1")["anchors"]
        return anchors["existed"] and anchors["not_before"]

    log.serve(declared)
    anchors = log.verify("--bitcoin-node", calendar.url, "--bitcoin-work-min", "1")["anchors"]
    (first, *_) = anchors["not_before"]
    (existed, *_) = [one for one in anchors["existed"] if one["file"] == first["file"]]
    assert first["entry"] >= existed["size"]
    # A block's time may be two hours off either way.
    assert first["time"] < existed["no_later_than"]


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("http503", 3, "the answer is status 503"),
        ("hang", 3, "there was no answer in time"),
        ("huge", 3, "the answer is too large"),
        ("garbage", 1, "the answer is refused"),
    ],
)
def test_what_is_wrong_with_a_calendar_is_found(log, calendar, fault, code, reason):
    calendar.fault = fault
    log.configure(configuration(calendar.url))
    assert reason in log.run("anchor", code=code).stderr
    assert log.anchors() == []


def test_a_calendar_sends_us_nowhere(log, calendar):
    """The address in a promise is the calendar's own word."""
    elsewhere = Calendar()
    calendar.uri = elsewhere.url
    log.configure(configuration(calendar.url))
    log.run("anchor")
    log.run("anchor")
    assert elsewhere.asked == [] and calendar.asked == []
    # Where the configuration allows it, it is asked.
    log.configure(configuration(calendar.url, f'calendars = ["{elsewhere.url}/"]'))
    log.run("anchor")
    eventually(lambda: elsewhere.asked != [])
    elsewhere.close()
