"""Three stores that speak S3 and differ in what they do, a log to mirror, and the command to mirror it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def binary():
    for path in (os.environ.get("TABELLION_BIN"), ROOT / "target/release/tabellion", ROOT / "target/debug/tabellion"):
        if path and Path(path).exists():
            return str(path)
    raise AssertionError("there is no binary; build it, or set TABELLION_BIN")


def free_ports(count):
    """So many neighbouring ports that nobody uses."""
    for first in range(21_000, 30_000, 16):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise AssertionError("no free ports")


def wait_for(port, process):
    for _ in range(300):
        assert process.poll() is None, "the store ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the store does not answer")


class Store:
    """A store that runs, and who may use it."""

    def __init__(self, name, port, key, secret):
        self.name, self.endpoint, self.key, self.secret = name, f"http://127.0.0.1:{port}", key, secret
        self.buckets = 0

    def client(self):
        """An S3 client that is not ours."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )

    def bucket(self, locked=True):
        self.buckets += 1
        name = f"bucket-{self.buckets}"
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return name


def stop(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory):
    home, port = tmp_path_factory.mktemp("radosgw"), free_ports(2)
    try:
        subprocess.run([HERE / "radosgw", home, str(port)], check=True, timeout=180)
        yield Store("radosgw", port, "RADOSKEY", "RADOSSECRET")
    finally:
        subprocess.run([HERE / "radosgw", "--stop", home], check=True)


@pytest.fixture(scope="session")
def moto():
    port = free_ports(1)
    command = [os.environ["MOTO"], "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port, process)
    yield Store("moto", port, "key", "secret")
    stop(process)


@pytest.fixture(scope="session")
def s3rver(tmp_path_factory):
    port = free_ports(1)
    command = [os.environ["S3RVER"], "-d", tmp_path_factory.mktemp("s3rver"), "-a", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        [*command, "--allow-mismatched-signatures"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(port, process)
    yield Store("s3rver", port, "S3RVER", "S3RVER")
    stop(process)


class Log:
    """A log in a directory of its own, and the commands upon it."""

    def __init__(self, home, recorded):
        self.home, self.data = home, home / "data"
        shutil.copytree(recorded, self.data)
        shutil.copytree(recorded.with_name("data.keys"), home / "data.keys")
        self.config = home / "tabellion.toml"

    def to(self, store, bucket, **settings):
        """Writes the configuration of a mirror."""
        self.store = store
        self.target = f"s3://{bucket}/a/log"
        lines = {"to": self.target, "endpoint": store.endpoint, "region": "us-east-1", "retention_days": 1} | settings
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
        self.config.write_text(f"data = {json.dumps(str(self.data))}\n[mirror]\n{text}\n")
        return self

    def run(self, *command):
        keys = {"AWS_ACCESS_KEY_ID": self.store.key, "AWS_SECRET_ACCESS_KEY": self.store.secret}
        return subprocess.run(
            [binary(), *command, "--config", self.config],
            env=os.environ | keys,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def mirror(self):
        done = self.run("mirror", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def doctor(self):
        """What the doctor says of the bucket: the state and the words of each check."""
        done = self.run("doctor", "--json")
        lines = json.loads(done.stdout)
        return {
            line["check"].removeprefix("mirror."): (line["state"], line["said"])
            for line in lines
            if line["check"].startswith("mirror.")
        }


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A log with exchanges in it, as the demonstration leaves it."""
    data = tmp_path_factory.mktemp("recorded") / "data"
    subprocess.run([binary(), "demo", "--exit", "--data", data], check=True, capture_output=True, timeout=120)
    return data


@pytest.fixture
def log(tmp_path, recorded):
    return Log(tmp_path, recorded)
