"""The gateway asks a Presidio analyzer that really runs, and what it finds is redacted in the record."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from analyzer import NAME

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
READY_S_MAX = 60


def binary(variable, name):
    """The program that `variable` names, or the newest build under target/."""
    if given := os.environ.get(variable):
        return given
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        path = target / profile / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name}: build it first (cargo build), or set {variable}")


def spawn(*command, **more):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)
    return process, process.stdout.readline().strip()


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@pytest.fixture(scope="session")
def analyzer():
    process, port = spawn(sys.executable, str(HERE / "analyzer.py"))
    yield process, f"http://127.0.0.1:{port}"
    end(process)


@pytest.fixture(scope="session")
def standin():
    process, address = spawn(binary("STANDIN_BIN", "tabellion-standin"), "--listen", "127.0.0.1:0")
    yield f"http://{address}"
    end(process)


class Gateway:
    def __init__(self, home, upstream, external):
        self.data = home / "data"
        self.config = home / "tabellion.toml"
        self.config.write_text("[[external]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in external.items()))
        environment = {
            **os.environ,
            "TABELLION_UPSTREAM_OPENAI_URL": upstream,
            "TABELLION_GATEWAY_LISTEN": "127.0.0.1:0",
            "TABELLION_CONSOLE_LISTEN": "127.0.0.1:0",
        }
        self.log = home / "serve.log"
        with self.log.open("wb") as log:
            command = [binary("TABELLION_BIN", "tabellion"), "serve", "--data", self.data, "--config", self.config]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S_MAX
        while not (self.data / "server.json").exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.url = json.loads((self.data / "server.json").read_text())["gateway"]

    def say(self, *texts):
        """One turn; the exchange, and what the answer's status is."""
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text} for text in texts]}
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", data=json.dumps(body).encode(), headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                return answer.headers["x-tabellion-exchange"], answer.status
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.headers["x-tabellion-exchange"], answer.code

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()

    def run(self, *arguments):
        command = [binary("TABELLION_BIN", "tabellion"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def show(self, exchange):
        return json.loads(self.run("show", exchange, "--json", "--data", str(self.data)))

    def bytes_at_rest(self):
        return b"".join(path.read_bytes() for path in self.data.rglob("*") if path.is_file())


@pytest.fixture
def gateway(tmp_path, standin):
    started = []

    def start(**external):
        started.append(Gateway(tmp_path, standin, {"name": "presidio", "kind": "presidio", **external}))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_presidio_finds_a_name_and_the_record_has_a_token_for_it(analyzer, gateway):
    # Presidio's first call prepares much; afterwards two seconds are plenty.
    server = gateway(url=analyzer[1], timeout_ms=30000)
    text = f"😀 Hello, I am {NAME}, write to zoe.quill@nordwind-bank.de"
    exchange, status = server.say(text)
    assert status == 200
    again, status = server.say(text, "And the weather?")
    assert status == 200
    server.stop()

    shown = server.show(exchange)
    redaction = shown["request"]["entry"]["redaction"]
    assert redaction["findings"] == {"EMAIL_ADDRESS": 1, "PERSON": 1}
    assert redaction["external"]["presidio"] >= 1
    assert "external_failures" not in redaction
    tokens = {token.split(":")[0]: token for token in redaction["tokens"]}
    assert f"😀 Hello, I am [{tokens['PERSON']}], write to [{tokens['EMAIL_ADDRESS']}]" in json.dumps(
        shown, ensure_ascii=False
    )
    assert server.show(again)["request"]["entry"]["redaction"]["findings"] == redaction["findings"]
    at_rest = server.bytes_at_rest()
    assert b"Quill" not in at_rest and b"nordwind" not in at_rest
    server.run("verify", str(server.data))


def test_presidio_itself_refuses_and_the_exchange_is_stopped(analyzer, gateway):
    # It has no recognizers for this language, and says so with status 500.
    server = gateway(url=analyzer[1], language="xx")
    exchange, status = server.say("hello")
    assert status == 503
    server.stop()
    entry = server.show(exchange)["request"]["entry"]
    assert entry["redaction"]["external_failures"] == {"presidio": "refused"}
    server.run("verify", str(server.data))


def test_presidio_that_hangs_is_left_out_if_somebody_said_so(analyzer, gateway):
    process, url = analyzer
    server = gateway(url=url, timeout_ms=300, on_failure="continue")
    process.send_signal(signal.SIGSTOP)
    try:
        exchange, status = server.say("write to zoe.quill@nordwind-bank.de")
    finally:
        process.send_signal(signal.SIGCONT)
    assert status == 200
    server.stop()
    redaction = server.show(exchange)["request"]["entry"]["redaction"]
    assert redaction["external_failures"] == {"presidio": "timed_out"}
    assert redaction["findings"] == {"EMAIL_ADDRESS": 1}
    server.run("verify", str(server.data))
