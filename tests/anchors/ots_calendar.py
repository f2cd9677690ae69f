"""An OpenTimestamps calendar with a Bitcoin chain of its own, for tests.

A stand-in: neither a real calendar nor a Bitcoin node can be had here. It
speaks the calendars' protocol and as much of a node's JSON-RPC as verifying
needs, but its chain is made up, and its blocks take next to no work. The
format is written by hand, and not with the official library, so that this,
the library and the product have to agree. Standard library only.
"""

import hashlib
import http.server
import json
import os
import struct
import threading
import time

PENDING = bytes.fromhex("83dfe30d2ef90c8e")
BITCOIN = bytes.fromhex("0588960d73d71901")
# The easiest target that Bitcoin's regression test network knows.
BITS = 0x207FFFFF


def sha256(data):
    return hashlib.sha256(data).digest()


def varuint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def varbytes(data):
    return varuint(len(data)) + data


class Calendar:
    """Serves until it is closed. `fault` may be set at any time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waiting = []
        self.mined = {}  # commitment -> (the steps to its block's root, height)
        self.headers = [self.header(bytes(32), sha256(b"genesis"))]
        self.fault = None
        self.asked = []
        calendar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/digest":
                    calendar.digest(self, body)
                else:
                    calendar.rpc(self, json.loads(body))

            def do_GET(self):
                calendar.timestamp(self, self.path)

            def answer(self, status, body, content_type="application/octet-stream"):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.uri = self.url
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # --- The calendar -----------------------------------------------------------

    def digest(self, request, body):
        if self.fault == "http503":
            return request.answer(503, b"")
        if self.fault == "hang":
            time.sleep(3600)
        if self.fault == "garbage":
            return request.answer(200, b"not a timestamp")
        if self.fault == "huge":
            return request.answer(200, bytes(1 << 20))
        if len(body) > 64:
            return request.answer(400, b"digest too long")
        salt = os.urandom(8)
        commitment = sha256(body + salt)
        with self.lock:
            self.waiting.append(commitment)
        payload = varbytes(self.uri.encode())
        request.answer(200, b"\xf0" + varbytes(salt) + b"\x08\x00" + PENDING + varbytes(payload))

    def timestamp(self, request, path):
        self.asked.append(path)
        with self.lock:
            found = self.mined.get(bytes.fromhex(path.removeprefix("/timestamp/")))
        if found is None:
            return request.answer(404, b"Pending confirmation in Bitcoin blockchain")
        steps, height = found
        request.answer(200, steps + b"\x00" + BITCOIN + varbytes(varuint(height)))

    # --- The chain --------------------------------------------------------------

    def header(self, previous, root):
        """A block header with its work done."""
        nonce = 0
        while True:
            header = struct.pack("<I32s32sIII", 4, previous, root, int(time.time()), BITS, nonce)
            if int.from_bytes(sha256(sha256(header)), "little") <= 0x7FFFFF << 8 * (0x20 - 3):
                return header
            nonce += 1

    def mine(self):
        """Puts every commitment that waits into a block; gives its height.

        Each is in a made-up transaction, which is hashed twice, and beside
        another one in the block's tree.
        """
        with self.lock:
            height = len(self.headers)
            if len(self.waiting) > 1:
                raise RuntimeError("this calendar puts one commitment into a block")
            before, after, sibling = os.urandom(40), os.urandom(12), os.urandom(32)
            for commitment in self.waiting:
                transaction = sha256(sha256(before + commitment + after))
                root = sha256(sha256(sibling + transaction))
                steps = b"\xf1" + varbytes(before) + b"\xf0" + varbytes(after) + b"\x08\x08"
                steps += b"\xf1" + varbytes(sibling) + b"\x08\x08"
                self.mined[commitment] = (steps, height)
            if not self.waiting:
                root = os.urandom(32)
            self.waiting.clear()
            self.headers.append(self.header(sha256(sha256(self.headers[-1])), root))
            return height

    def rpc(self, request, call):
        name, params = call["method"], call.get("params", [])
        ids = [sha256(sha256(header))[::-1].hex() for header in self.headers]
        result, error = None, None
        if name == "getblockcount":
            result = len(self.headers) - 1
        elif name == "getblockhash" and params[0] < len(ids):
            result = ids[params[0]]
        elif name == "getblockheader" and params[0] in ids and params[1] is False:
            result = self.headers[ids.index(params[0])].hex()
        else:
            error = {"code": -8, "message": "Block height out of range"}
        body = json.dumps({"result": result, "error": error, "id": call.get("id")}).encode()
        request.answer(200 if error is None else 500, body, "application/json")
