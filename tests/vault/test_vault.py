"""Sealed originals, opened by age's own tool and by another make of age."""

import http.server
import io
import json
import os
import pathlib
import signal
import sqlite3
import struct
import subprocess
import threading
import time
import urllib.request

import pyrage
import pytest
import zstandard

BIN = os.environ["TABELLION_BIN"]
ANSWER = b'{"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Noted, Quillon."}}]}'
PATIENCE = 40


class Provider(http.server.BaseHTTPRequestHandler):
    """Not a model: it gives the one answer that the test knows every byte of."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


def eventually(ask):
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.02)


class Place:
    def __init__(self, folder):
        self.folder, self.data, self.keys = folder, folder / "data", folder / "data.keys"
        self.provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
        threading.Thread(target=self.provider.serve_forever, daemon=True).start()
        self.identity = folder / "officer.key"
        subprocess.run(["age-keygen", "-o", self.identity], check=True, capture_output=True)
        recipient = subprocess.run(["age-keygen", "-y", self.identity], check=True, capture_output=True, text=True).stdout.strip()
        self.config = folder / "tabellion.toml"
        self.config.write_text(
            f'data = "{self.data}"\n[gateway]\nlisten = "127.0.0.1:0"\n[console]\nlisten = "127.0.0.1:0"\n'
            f'[vault]\nrecipients = ["{recipient}"]\n[[upstream]]\nname = "openai"\nkind = "openai"\n'
            f'url = "http://127.0.0.1:{self.provider.server_port}"\ndefault = true\nseal = "always"\n'
        )
        self.server = None

    def start(self):
        self.server = subprocess.Popen([BIN, "serve", "--config", self.config], stdout=subprocess.DEVNULL)

        def address():
            try:
                found = json.loads((self.data / "server.json").read_text())
            except (FileNotFoundError, ValueError):
                return None
            return found["gateway"] if found["pid"] == self.server.pid else None

        self.gateway = eventually(address)

    def stop(self):
        if self.server:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(PATIENCE) == 0
            self.server = None

    def ask(self, body):
        request = urllib.request.Request(self.gateway + "/v1/chat/completions", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == ANSWER
            return answer.headers["x-tabellion-exchange"]

    def run(self, *arguments):
        return subprocess.run([BIN, *arguments, "--config", self.config], capture_output=True, check=True).stdout

    def entries(self, exchange):
        """Request and response of an exchange, from the log's own files."""

        def both():
            found = []
            for path in sorted((self.data / "log/tile/entries").rglob("*")):
                data, at = path.read_bytes() if path.is_file() else b"", 0
                while at < len(data):
                    (length,) = struct.unpack_from(">H", data, at)
                    found.append(json.loads(data[at + 2 : at + 2 + length]))
                    at += 2 + length
            request = [entry for entry in found if entry["id"] == exchange]
            response = [entry for entry in found if entry.get("exchange") == exchange and "outcome" in entry]
            return (request[0], response[0]) if request and response else None

        return eventually(both)

    def payloads(self):
        found = {}
        for path in (self.data / "sealed").rglob("*"):
            data, at = path.read_bytes() if path.is_file() else b"", 0
            while at < len(data):
                name, (length,) = data[at : at + 32].hex(), struct.unpack_from(">I", data, at + 32)
                found[name] = data[at + 36 : at + 36 + length]
                at += 36 + length
        return found

    def header(self, name):
        with sqlite3.connect(self.keys / "keyring.db") as db:
            return db.execute("SELECT header FROM piece WHERE name = ?", (bytes.fromhex(name),)).fetchone()[0]


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.start()
    yield place
    place.stop()


def plain(data):
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()


def test_pieces_are_age_files_that_other_tools_open(place):
    body = b'{"model":"m", "messages":[{"role":"system","content":"brief"}, {"role":"user","content":"I am Quillon"}]}'
    exchange = place.ask(body)
    secret = next(line for line in place.identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))
    identity = pyrage.x25519.Identity.from_str(secret)
    stranger = pyrage.x25519.Identity.generate()
    for entry, exact in zip(place.entries(exchange), (body, ANSWER)):
        pieces = []
        for name in entry["original"]["sealed"]:
            file = place.header(name) + place.payloads()[name]
            opened = subprocess.run(["age", "--decrypt", "-i", place.identity], input=file, capture_output=True, check=True).stdout
            assert opened == pyrage.decrypt(file, [identity])
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(file, [stranger])
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(file[:-1] + bytes([file[-1] ^ 1]), [identity])
            pieces.append(plain(opened))
        frame, *parts = pieces
        assert len(parts) == frame.count(b"\0") >= 1
        for part in parts:
            frame = frame.replace(b"\0", part, 1)
        assert frame == exact
    assert place.run("reveal", exchange, "--identity", str(place.identity), "--reason", "test") == body
    assert place.run("reveal", exchange, "--identity", str(place.identity), "--reason", "test", "--response") == ANSWER


def test_a_backup_is_an_age_file_and_brings_the_keyring_back(place):
    exchange = place.ask(b'{"model":"m","messages":[{"role":"user","content":"I am Quillon"}]}')
    erased = place.ask(b'{"model":"m","messages":[{"role":"user","content":"forget me"}]}')
    place.entries(exchange), place.entries(erased)
    backup = place.folder / "keyring.age"
    place.run("keyring", "backup", "--to", str(backup))
    assert b"SQLite" not in backup.read_bytes() and backup.stat().st_mode & 0o077 == 0
    place.run("erase", "--id", erased, "--reason", "test")
    place.stop()
    # As docs/vault.md says.
    for path in place.keys.glob("keyring.db*"):
        path.unlink()
    with open(place.keys / "keyring.db", "wb") as file:
        subprocess.run(["age", "--decrypt", "-i", place.identity, backup], stdout=file, check=True)
    os.chmod(place.keys / "keyring.db", 0o600)
    place.start()
    assert b"Quillon" in place.run("reveal", exchange, "--identity", str(place.identity), "--reason", "test")
    gone = [BIN, "reveal", erased, "--identity", place.identity, "--reason", "test", "--config", place.config]
    refused = subprocess.run(gone, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "") and "erased" in refused.stderr
    # The first is the frame, which both requests have.
    names = place.entries(erased)[0]["original"]["sealed"][1:]
    with sqlite3.connect(place.keys / "keyring.db") as db:
        left = {row[0].hex() for row in db.execute("SELECT name FROM piece")}
    assert left and names and not left & set(names)
    place.run("verify")
