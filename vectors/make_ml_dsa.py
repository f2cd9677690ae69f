#!/usr/bin/env python3
"""Writes vectors/ml-dsa/: notes with ML-DSA-44 signatures (C2SP tlog-cosignature).

Needs the Python package `cryptography`, 48 or later, whose ML-DSA is not the one that the product uses. Apart from make.py,
because the `openssl` command of most systems has none yet. Its signatures are randomized (FIPS 204's default), so that every
run writes other ones; the product's are deterministic.
"""

import base64
import hashlib
import json
import os
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ml-dsa")
ORIGIN = "log.example/test"
ROOT = hashlib.sha256(b"root").digest()


class Key:
    def __init__(self, name, algorithm, seed):
        self.name, self.algorithm = name, algorithm
        self.secret = MLDSA44PrivateKey.from_seed_bytes(seed) if algorithm == 6 else Ed25519PrivateKey.from_private_bytes(seed)
        self.public = bytes([algorithm]) + self.secret.public_key().public_bytes_raw()
        self.id = hashlib.sha256(name.encode() + b"\n" + self.public).digest()[:4]

    def vkey(self):
        return "%s+%s+%s" % (self.name, self.id.hex(), base64.b64encode(self.public).decode())

    def line(self, signature):
        return "\u2014 %s %s\n" % (self.name, base64.b64encode(self.id + signature).decode())

    def sign(self, text, time=None, **changed):
        if self.algorithm == 1:
            return self.line(self.secret.sign(text.encode()))
        if self.algorithm == 4:
            message = ("cosignature/v1\ntime %d\n" % time).encode() + text.encode()
        else:
            origin, size, root = text.split("\n")[:3]
            message = subtree(self.name, time, origin, 0, int(size), base64.b64decode(root), **changed)
        return self.line(struct.pack(">Q", time) + self.secret.sign(message))


def subtree(name, time, origin, start, end, root, label=b"subtree/v1\n\x00"):
    def opaque(text):
        return bytes([len(text.encode())]) + text.encode()

    return label + opaque(name) + struct.pack(">Q", time) + opaque(origin) + struct.pack(">QQ", start, end) + root


def text(origin=ORIGIN, size=300, root=ROOT, extra=""):
    return "%s\n%d\n%s\n%s" % (origin, size, base64.b64encode(root).decode(), extra)


def case(name, expect, why, note, keys, **members):
    value = {"expect": expect, "why": why, "note": note, "keys": [key.vkey() for key in keys], **members}
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")


def main():
    os.makedirs(HERE, exist_ok=True)
    log = Key(ORIGIN, 1, b"\x07" * 32)
    pq = Key(ORIGIN, 6, b"\x17" * 32)
    witness = Key("witness.example", 6, b"\x08" * 32)
    classic = Key("witness.example", 4, b"\x09" * 32)
    signed = text() + "\n" + log.sign(text())
    T = 1_700_000_000

    def ok(name, why, note, keys, times):
        case(name, "accept", why, note, keys, times=times)

    def bad(name, why, note, keys):
        case(name, "refuse", why, note, keys)

    ok("log", "the log's second signature", signed + pq.sign(text(), T), [pq], {ORIGIN: T})
    ok("log-alone", "the log's only signature", text() + "\n" + pq.sign(text(), T), [pq], {ORIGIN: T})
    ok("witness", "a witness's cosignature", signed + witness.sign(text(), T), [witness], {"witness.example": T})
    ok("both", "a witness with two keys", signed + classic.sign(text(), 5) + witness.sign(text(), T), [witness], {"witness.example": T})
    ok("extension", "extension lines are not covered", text(extra="more\n") + "\n" + witness.sign(text(), T), [witness], {"witness.example": T})
    ok("largest", "the largest size", text(size=2**64 - 1) + "\n" + witness.sign(text(size=2**64 - 1), T), [witness], {"witness.example": T})
    ok("latest", "the latest time that there is", text() + "\n" + witness.sign(text(), 2**63 - 1), [witness], {"witness.example": 2**63 - 1})
    ok("no-time", "without a time it says nothing of the newest tree, and does not count", signed + witness.sign(text(), 0), [witness], {})
    ok("unknown", "a signature by nobody's key", signed + pq.sign(text(), T), [witness], {})
    bad("time-too-large", "a time beyond 2^63 - 1", signed + witness.sign(text(), 2**63), [witness])
    bad("other-text", "a signature over another size", signed + witness.line(base64.b64decode(witness.sign(text(size=301), T).split(" ")[2])[4:]), [witness])
    bad("other-root", "a signature over another root", signed + witness.sign(text(root=hashlib.sha256(b"x").digest()), T), [witness])
    bad("other-origin", "a signature over another origin", signed + witness.sign(text(origin="log.example/other"), T), [witness])
    bad("other-label", "a signature of another protocol", signed + witness.sign(text(), T, label=b"subtree/v2\n\x00"), [witness])
    impostor = Key("witness.example", 6, b"\x0a" * 32)
    impostor.id = witness.id
    bad("impostor", "another key under this one's id", signed + impostor.sign(text(), T), [witness])
    good = base64.b64decode(witness.sign(text(), T).split(" ")[2])[4:]
    bad("other-time", "the time is covered", signed + witness.line(struct.pack(">Q", T + 1) + good[8:]), [witness])
    bad("short", "a byte is missing", signed + witness.line(good[:-1]), [witness])
    bad("long", "a byte too many", signed + witness.line(good + b"\0"), [witness])
    bad("ed25519-bytes", "an Ed25519 signature under this key's id", signed + witness.line(good[:72]), [witness])
    context = witness.secret.sign(subtree("witness.example", T, ORIGIN, 0, 300, ROOT), b"context")
    bad("context", "the context string must be empty", signed + witness.line(struct.pack(">Q", T) + context), [witness])
    start = witness.secret.sign(subtree("witness.example", T, ORIGIN, 1, 300, ROOT))
    bad("start", "a subtree that does not start at 0", signed + witness.line(struct.pack(">Q", T) + start), [witness])
    name = witness.secret.sign(subtree("witness.example/2", T, ORIGIN, 0, 300, ROOT))
    bad("other-name", "the cosigner's name is covered", signed + witness.line(struct.pack(">Q", T) + name), [witness])


if __name__ == "__main__":
    main()
