"""A log to anchor, and the commands."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.environ.get("TABELLION_BIN") or os.path.join(HERE, "../../target/debug/tabellion")
OTS = os.path.join(os.path.dirname(sys.executable), "ots")


class Log:
    """A data directory, and the product's commands on it."""

    def __init__(self, home):
        self.home = str(home)
        self.data = os.path.join(self.home, "data")
        self.config = os.path.join(self.home, "tabellion.toml")
        self.configure("")
        self.serve()

    def configure(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    def serve(self, until=lambda: True):
        """Runs the server until something holds; with each run the log grows."""
        environment = dict(os.environ, TABELLION_GATEWAY_LISTEN="127.0.0.1:0", TABELLION_CONSOLE_LISTEN="127.0.0.1:0")
        server = subprocess.Popen(
            [BINARY, "serve", "--config", self.config, "--data", self.data], env=environment, stderr=subprocess.PIPE
        )
        try:
            eventually(lambda: os.path.exists(f"{self.data}/server.json"))
            eventually(until)
            server.send_signal(signal.SIGTERM)
            said = server.communicate(timeout=60)[1]
            assert server.returncode == 0, said.decode()
        finally:
            server.kill()
            server.wait()

    def run(self, *args, code=0):
        done = subprocess.run(
            [BINARY, *args, "--config", self.config, "--data", self.data], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def verify(self, *args, code=0):
        return json.loads(self.run("verify", "--json", *args, code=code).stdout)

    def anchors(self):
        directory = os.path.join(self.data, "anchors")
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []

    def path(self, name):
        return os.path.join(self.data, "anchors", name)

    def message(self):
        """What an anchor of the newest checkpoint is about, in a file."""
        with open(f"{self.data}/log/checkpoint") as f:
            lines = f.readlines()[:3]
        path = os.path.join(self.home, "message")
        with open(path, "w") as f:
            f.writelines(lines)
        return path, int(lines[1])


def eventually(holds):
    deadline = time.time() + 60
    while not holds():
        assert time.time() < deadline, "gave up waiting"
        time.sleep(0.05)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)
