"""The two servers under test, and how one answer is held against another."""

import base64
import dataclasses
import gzip
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import zlib

import anthropic
import httpx
import openai
import zstandard

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_S_MAX = 20
STOP_S_MAX = 30
# A client's patience. Nothing here takes long unless something was held back that
# should not have been; then the test should fail, not hang.
CLIENT_S_MAX = 20

EMAIL = "anna.kowalska@nordwind-bank.de"
PHONE = "+1 650-253-0000"
CARD = "4111 1111 1111 1111"
SSN = "536-90-4399"
PLANTED = [EMAIL, PHONE, CARD, SSN, "650-253-0000", "6502530000", "4111111111111111", "4111-1111-1111-1111", "536904399"]

#: What the tests say to the model: text beyond ASCII, and what must not be kept.
TEXT = (
    f"Grüße an 😀 „Anna“.\nMy e-mail address is {EMAIL}, my phone number is {PHONE}, "
    f"my credit card number is {CARD} and my social security number (SSN) is {SSN}. Danke \\o/"
)


def binary(variable, name):
    """The program that `variable` names, or the newest build under target/."""
    if given := os.environ.get(variable):
        return given
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        path = target / profile / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name}: build it first (cargo build --release), or set {variable}")


class Standin:
    """The stand-in provider as a process."""

    def __init__(self):
        self.process = subprocess.Popen(
            [binary("STANDIN_BIN", "tabellion-standin"), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://{self.process.stdout.readline().strip()}"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def requests(self):
        return httpx.get(f"{self.url}/standin/requests").raise_for_status().json()

    def forget(self):
        httpx.delete(f"{self.url}/standin/requests").raise_for_status()

    def release(self, gate, n=1):
        httpx.post(f"{self.url}/standin/release", params={"gate": gate, "n": n}).raise_for_status()

    def wait_until(self, holds, what):
        """Polls, as nothing tells us; fails with `what` when it takes too long."""
        end = time.monotonic() + CLIENT_S_MAX
        while time.monotonic() < end:
            if holds(seen := self.requests()):
                return seen
            time.sleep(0.02)
        raise AssertionError(f"{what}: {seen['counts']} {seen['scripted']}")


class Gateway:
    """`tabellion serve` in front of a stand-in, with a data directory of its own."""

    def __init__(self, home, upstream, **further):
        self.data = home / "data"
        self.home = home
        self.log = home / "serve.log"
        environment = {
            **os.environ,
            "TABELLION_UPSTREAM_OPENAI_URL": upstream,
            "TABELLION_UPSTREAM_ANTHROPIC_URL": upstream,
            "TABELLION_GATEWAY_LISTEN": "127.0.0.1:0",
            "TABELLION_CONSOLE_LISTEN": "127.0.0.1:0",
            **further,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary("TABELLION_BIN", "tabellion"), "serve", "--data", str(self.data)],
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        addresses = self._ready()
        self.url = addresses["gateway"]
        self.console = addresses["console"]

    def _ready(self):
        path = self.data / "server.json"
        end = time.monotonic() + READY_S_MAX
        while time.monotonic() < end:
            try:
                return json.loads(path.read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError(f"serve exited with {self.process.returncode}:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.process.kill()
        raise RuntimeError(f"serve was not ready after {READY_S_MAX} s:\n{self.log.read_text()}")

    def stop(self):
        """Asks it to stop, as a service manager does; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"serve ignored SIGTERM for {STOP_S_MAX} s:\n{self.log.read_text()}") from None

    def command(self, *arguments):
        """One command beside or after the server, its output kept as bytes."""
        return subprocess.run(
            [binary("TABELLION_BIN", "tabellion"), *arguments], capture_output=True, cwd=self.home, timeout=60
        )

    def verify(self):
        return self.command("verify", str(self.data))

    def search(self, *arguments):
        """The hits as dictionaries; none when there are none."""
        done = self.command("search", "--data", str(self.data), "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr.decode()
        return [json.loads(line) for line in done.stdout.decode().splitlines()]


@dataclasses.dataclass
class Side:
    """One way to reach the stand-in: directly, or through the gateway."""

    name: str
    openai_url: str
    anthropic_url: str

    def __post_init__(self):
        ours = {"api_key": "sk-test-0123456789abcdef", "max_retries": 0, "timeout": CLIENT_S_MAX}
        self.openai = openai.OpenAI(base_url=self.openai_url, **ours)
        self.async_openai = lambda: openai.AsyncOpenAI(base_url=self.openai_url, **ours)
        self.anthropic = anthropic.Anthropic(base_url=self.anthropic_url, **ours)
        self.async_anthropic = lambda: anthropic.AsyncAnthropic(base_url=self.anthropic_url, **ours)

    def close(self):
        self.openai.close()
        self.anthropic.close()


def direct_side(standin):
    return Side("direct", f"{standin.url}/v1", standin.url)


def gateway_side(gateway):
    return Side("gateway", f"{gateway.url}/v1", f"{gateway.url}/anthropic")


def plain(value):
    """A result as comparable data: every field, those that the SDK does not know
    included, and the request id that it keeps beside them."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "model_dump"):
        dumped = value.model_dump(mode="json", warnings=False)
        request_id = getattr(value, "_request_id", None)
        return {"type of": type(value).__name__, "request id": request_id, **dumped}
    return value


# How one event, that the connection ended before the answer did, is called on
# the different layers.
BROKEN = {"APIConnectionError", "RemoteProtocolError", "ReadError", "RemoteDisconnected"}


def failure(error):
    """An exception as comparable data."""
    name = type(error).__name__
    described = {"raises": "a broken connection" if name in BROKEN else name}
    if isinstance(error, (openai.APIStatusError, anthropic.APIStatusError)):
        described |= {
            "status": error.status_code,
            "body": error.body,
            "message": str(error),
            "request id": error.request_id,
            # A stream that turned into an error has status 200, and was not read whole.
            "bytes": error.response.content if error.response.is_error else None,
            "retry-after": error.response.headers.get("retry-after"),
        }
    elif isinstance(error, (openai.APIError, anthropic.APIError)):
        described |= {"body": error.body}
    return described


def outcome(call, side):
    """What `call` gives on this side, or what it raises."""
    try:
        return plain(call(side))
    except Exception as error:  # noqa: BLE001: which one it is, is the question
        return failure(error)


def drained(stream):
    """Every event of a stream, and how it ended."""
    events = []
    try:
        for event in stream:
            events.append(plain(event))
    except Exception as error:  # noqa: BLE001: as above
        events.append(failure(error))
    return events


async def drained_async(stream):
    events = []
    try:
        async for event in stream:
            events.append(plain(event))
    except Exception as error:  # noqa: BLE001: as above
        events.append(failure(error))
    return events


def body_of(request):
    """The bytes that the stand-in received."""
    return base64.b64decode(request["body"])


def headers_of(request):
    return {name: value for name, value in request["headers"]}


ZSTD_MAGIC = re.compile(re.escape(b"\x28\xb5\x2f\xfd"))
GZIP_MAGIC = re.compile(re.escape(b"\x1f\x8b\x08"))


def readings(data):
    """The bytes as they are, and what any zstd or gzip stream in them holds."""
    yield data
    for match in ZSTD_MAGIC.finditer(data):
        try:
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data[match.start() :])) as reader:
                yield reader.read(64 << 20)
        except zstandard.ZstdError:
            pass
    for match in GZIP_MAGIC.finditer(data):
        try:
            yield zlib.decompressobj(wbits=31).decompress(data[match.start() :], 64 << 20)
        except zlib.error:
            pass


def leaks(home):
    """Each planted value that a file under `home` holds, and where."""
    found = []
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        for reading in readings(path.read_bytes()):
            text = reading.replace(b"\x00", b"")  # UTF-16 would hide it
            found += [(str(path), value) for value in PLANTED if value.encode() in text]
    return found


def planted_archive(path):
    """A file in which `leaks` must find what was planted; so that it is no vacuous test."""
    packed = zstandard.ZstdCompressor().compress(f"prefix {EMAIL} suffix".encode())
    path.write_bytes(b"head" + packed + b"tail" + gzip.compress(SSN.encode()))
