#!/usr/bin/env python3
"""A timestamp authority for tests: OpenSSL behind HTTP (RFC 3161, section 3.4).

    tsa.py STATE [--alg ec|rsa] [--fault FAULT] [--port PORT]

Makes its certificates in STATE, if they are not there: root.pem, and ec.pem
and rsa.pem under it, valid from 2020 on. Prints its URL, and serves until its
standard input ends. Python's standard library and the `openssl` command only.

Faults: http503, hang, badsig, garbage, huge, wrongnonce, rejection, and with
--alg rsa backdated and postdated: a good token, signed with the authority's
key, of another day.
"""

import argparse
import datetime
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../vectors"))
from make_timestamps import Token  # noqa: E402

CNF = """
[ca]
default_ca = d
[d]
dir = {state}
database = {state}/index
new_certs_dir = {state}
serial = {state}/number
default_md = sha256
policy = p
unique_subject = no
[p]
commonName = supplied
[req]
distinguished_name = n
[n]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ec]
{common}
signer_cert = {state}/ec.pem
signer_key = {state}/ec.key
serial = {state}/serial-ec
[rsa]
{common}
signer_cert = {state}/rsa.pem
signer_key = {state}/rsa.key
serial = {state}/serial-rsa
"""
# Root and signer in the token, as many authorities have them: OpenSSL does not sort them.
COMMON = """
certs = {state}/root.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.1.1
other_policies = 1.3.6.1.4.1.32473.1.2
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_alg = sha256
"""


def openssl(*args, data=None):
    done = subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def setup(state):
    os.makedirs(state, exist_ok=True)
    with open(f"{state}/cnf", "w") as f:
        f.write(CNF.format(state=state, common=COMMON.format(state=state)))
    for name, text in [("index", ""), ("number", "1000\n"), ("serial-ec", "01\n"), ("serial-rsa", "01\n")]:
        with open(f"{state}/{name}", "w") as f:
            f.write(text)
    for name in ["root", "ec", "rsa"]:
        key = f"{state}/{name}.key"
        if name == "rsa":
            openssl("genrsa", "-out", key, "2048")
        else:
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        request, subject = f"{state}/{name}.csr", f"/CN=Test {name}"
        openssl("req", "-new", "-key", key, "-subj", subject, "-config", f"{state}/cnf", "-out", request)
        issuer = ["-selfsign", "-keyfile", key] if name == "root" else ["-cert", f"{state}/root.pem", "-keyfile", f"{state}/root.key"]
        extensions = "root" if name == "root" else "tsa"
        # Last of all: whoever waits for the file can use it.
        openssl("ca", "-batch", "-notext", "-config", f"{state}/cnf", *issuer, "-extensions", extensions, "-in", request,
                "-startdate", "20200101000000Z", "-enddate", "20491231235959Z", "-out", f"{state}/{name}.pem")  # fmt: skip


class Authority:
    def __init__(self, state, alg, fault):
        self.state, self.alg, self.fault = state, alg, fault
        self.lock = threading.Lock()  # the file with the serial number is not safe for two

    def reply(self, query):
        with self.lock, tempfile.TemporaryDirectory() as directory:
            with open(f"{directory}/query", "wb") as f:
                f.write(query)
            openssl("ts", "-reply", "-queryfile", f"{directory}/query", "-config", f"{self.state}/cnf",
                    "-section", self.alg, "-out", f"{directory}/reply")  # fmt: skip
            with open(f"{directory}/reply", "rb") as f:
                return f.read()

    def answer(self, query):
        if self.fault == "garbage":
            return bytes.fromhex("3003020100")
        if self.fault == "huge":
            return bytes.fromhex("3084") + (1 << 22).to_bytes(4, "big") + bytes(1 << 22)
        if self.fault == "rejection":
            return bytes.fromhex("3009300702010203020780")
        if self.fault == "wrongnonce":
            # The nonce is the number before the last member, certReq TRUE.
            query = query[:-4] + bytes([query[-4] ^ 1]) + query[-3:]
        reply = self.reply(query)
        if self.fault == "badsig":
            return reply[:-1] + bytes([reply[-1] ^ 1])
        if self.fault in ("backdated", "postdated"):
            token = Token(reply)
            day = datetime.timedelta(days=-1 if self.fault == "backdated" else 1)
            then = datetime.datetime.now(datetime.timezone.utc) + day
            next(node for node in token.info[0][1] if node[0] == 0x18)[1] = then.strftime("%Y%m%d%H%M%SZ").encode()
            return token.sign(f"{self.state}/rsa").bytes()
        return reply


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("state")
    parser.add_argument("--alg", default="ec", choices=["ec", "rsa"])
    parser.add_argument("--fault", default="none")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    state = os.path.abspath(args.state)
    if not os.path.exists(f"{state}/rsa.pem"):
        setup(state)
    authority = Authority(state, args.alg, args.fault)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            query = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if authority.fault == "hang":
                time.sleep(3600)
            if authority.fault == "http503":
                return self.send_error(503)
            if self.headers.get("Content-Type") != "application/timestamp-query":
                return self.send_error(415)
            try:
                answer = authority.answer(query)
            except RuntimeError as error:
                return self.send_error(500, explain=str(error))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            try:
                self.wfile.write(answer)
            except OSError:
                pass  # who has seen enough hangs up

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
