"""A server for the session, and a way to ask it."""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_S_MAX = 20
STOP_S_MAX = 30


def binary():
    """The program that TABELLION_BIN names, or the newest build under target/."""
    if given := os.environ.get("TABELLION_BIN"):
        return given
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        path = target / profile / "tabellion"
        if path.exists():
            return str(path)
    raise FileNotFoundError("tabellion: build it first (cargo build --release), or set TABELLION_BIN")


class Presidio:
    """Our server, for what takes it for Presidio."""

    def __init__(self, url):
        self.base = f"{url}/presidio/"

    def post(self, path, body):
        """The status and the JSON of an answer."""
        request = urllib.request.Request(
            self.base + path, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="session")
def presidio(tmp_path_factory):
    home = tmp_path_factory.mktemp("session")
    data = home / "data"
    log = home / "serve.log"
    environment = {
        **os.environ,
        "TABELLION_GATEWAY_LISTEN": "127.0.0.1:0",
        "TABELLION_CONSOLE_LISTEN": "127.0.0.1:0",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binary(), "serve", "--data", str(data)],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    end = time.monotonic() + READY_S_MAX
    while True:
        try:
            addresses = json.loads((data / "server.json").read_text())
            break
        except (FileNotFoundError, json.JSONDecodeError):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)
    yield Presidio(addresses["console"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_S_MAX) == 0, log.read_text()
