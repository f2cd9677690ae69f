"""COSE receipts and statements, read by code of others (cbor2, cryptography)
and of this file, which follows RFC 9942, RFC 9943 and RFC 9162 and shares
nothing with the product."""

import base64
import hashlib
import http.server
import json
import os
import shutil
import threading
import urllib.request

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data):
    return hashlib.sha256(data).digest()


def inclusion_root(entry, size, index, path):
    """RFC 9162, section 2.1.3.2."""
    assert index < size
    fn, sn, node = index, size - 1, sha256(b"\0" + entry)
    for sibling in path:
        assert sn != 0
        if fn & 1 or fn == sn:
            node = sha256(b"\1" + sibling + node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\1" + node + sibling)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return node


def consistency_root(old, old_root, new, path):
    """RFC 9162, section 2.1.4.2."""
    assert 0 < old < new
    if old & (old - 1) == 0:
        path = [old_root, *path]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        assert sn != 0
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\1" + node + fr), sha256(b"\1" + node + sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\1" + sr + node)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0 and fr == old_root
    return sr


def sign1(data):
    tag = cbor2.loads(data)
    assert tag.tag == 18
    protected, unprotected, payload, signature = tag.value
    header = cbor2.loads(protected)
    assert header[1] == -8, "EdDSA"
    return protected, header, unprotected, payload, signature


def check(key, protected, payload, signature):
    key.verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))


def proofs(receipt, label):
    protected, header, unprotected, payload, signature = sign1(receipt)
    assert header[395] == 1 and payload is None, "RFC9162_SHA256, and the root is detached"
    assert set(header[15]) == {1, 2}, "RFC 9943 wants issuer and subject"
    (proof,) = unprotected[396][label]
    numbers = cbor2.loads(proof)
    assert len(numbers[2]) > 0
    return protected, header, signature, numbers


def verify_inclusion(key, receipt, entry):
    protected, header, signature, (size, index, path) = proofs(receipt, -1)
    check(key, protected, inclusion_root(entry, size, index, path), signature)
    return header, size, index


def verify_consistency(key, receipt, old_size, old_root):
    protected, _, signature, (old, new, path) = proofs(receipt, -2)
    assert old == old_size
    root = consistency_root(old, old_root, new, path)
    check(key, protected, root, signature)
    return new, root


def vkey(log):
    with open(f"{log.data}/log.vkey") as f:
        name, key_id, key = f.readline().strip().split("+", 2)
    raw = base64.b64decode(key)
    assert raw[0] == 1
    return name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])


class Provider(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"choices":[{"message":{"role":"assistant","content":"hello"}}]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def exchange(log):
    """The id of an exchange that is in the log."""
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    log.configure(
        f'[[upstream]]\nname = "x"\nkind = "openai"\nurl = "http://127.0.0.1:{provider.server_address[1]}"\ndefault = true\n'
    )
    found = []

    def ask():
        with open(f"{log.data}/server.json") as f:
            gateway = json.load(f)["gateway"]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
        request = urllib.request.Request(f"{gateway}/v1/chat/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            found.append(answer.headers["x-tabellion-exchange"])
        return True

    log.serve(ask)
    provider.shutdown()
    return found[0]


def test_a_statement_verifies_elsewhere(log, exchange):
    origin, key_id, key = vkey(log)
    path = os.path.join(log.home, "entry.cose")
    log.run("prove", exchange, "--cose", "-o", path)
    with open(path, "rb") as f:
        statement = f.read()
    protected, header, unprotected, payload, signature = sign1(statement)
    check(key, protected, payload, signature)
    entry = json.loads(payload)
    assert entry["id"] == exchange and entry["kind"] == "exchange.request"
    assert header[15] == {1: origin, 2: exchange} and header[4] == key_id and header[3] == 50, "JSON"
    (receipt,) = unprotected[394]
    receipt_header, size, index = verify_inclusion(key, receipt, payload)
    assert receipt_header[15] == {1: origin, 2: exchange}
    with pytest.raises(InvalidSignature):
        verify_inclusion(key, receipt, payload + b" ")

    report = json.loads(log.run("verify", path, "--json").stdout)
    assert (report["verified"], report["size"], report["index"]) == (True, size, index)
    # Of its own, with the entry beside it.
    alone, beside = os.path.join(log.home, "receipt.cose"), os.path.join(log.home, "entry.json")
    log.run("prove", exchange, "--response", "--cose=receipt", "-o", alone)
    log.run("verify", alone, code=2)
    with open(alone, "rb") as f:
        receipt = f.read()
    with open(beside, "wb") as f:
        f.write(payload)
    log.run("verify", alone, "--entry", beside, code=1)
    log.run("prove", exchange, "--response", "--cose", "-o", path)
    with open(path, "rb") as f:
        payload = sign1(f.read())[3]
    verify_inclusion(key, receipt, payload)
    with open(beside, "wb") as f:
        f.write(payload)
    assert "verified" in log.run("verify", alone, "--entry", beside).stdout


def test_what_others_make_of_it_is_read(log, exchange):
    """The same statement in another order and another form of CBOR, and one
    that somebody else signed."""
    path = os.path.join(log.home, "entry.cose")
    log.run("prove", exchange, "--cose", "-o", path)
    with open(path, "rb") as f:
        protected, _, unprotected, payload, signature = sign1(f.read())
    # Other receipts may stand beside ours, and other headers.
    unprotected = {"note": "kept by others", 394: [b"not a receipt", *unprotected[394]]}
    with open(path, "wb") as f:
        f.write(cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature])))
    log.run("verify", path)
    for changed in [payload + b" ", payload.replace(b"exchange.request", b"exchange.requesT")]:
        with open(path, "wb") as f:
            f.write(cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, changed, signature])))
        log.run("verify", path, code=1)
    with open(path, "wb") as f:
        f.write(cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature])))
    assert "does not prove this" in log.run("verify", path, code=1).stdout


def test_a_receipt_shows_that_the_log_only_grew(log):
    _, _, key = vkey(log)
    older, receipt = os.path.join(log.home, "older"), os.path.join(log.home, "grew.cose")
    shutil.copy(f"{log.data}/log/checkpoint", older)
    with open(older) as f:
        lines = f.read().split("\n")
    old_size, old_root = int(lines[1]), base64.b64decode(lines[2])
    assert "at least one hash" in log.run("prove", "--extends", older, code=1).stderr, "it has not grown"
    log.serve()
    log.run("prove", "--extends", older, "-o", receipt)
    with open(receipt, "rb") as f:
        new_size, root = verify_consistency(key, f.read(), old_size, old_root)
    with open(f"{log.data}/log/checkpoint") as f:
        lines = f.read().split("\n")
    assert (new_size, root) == (int(lines[1]), base64.b64decode(lines[2]))
    report = json.loads(log.run("verify", receipt, "--checkpoint", older, "--json").stdout)
    assert (report["verified"], report["extends"], report["size"]) == (True, old_size, new_size)
    newer = f"{log.data}/log/checkpoint"
    log.run("verify", receipt, "--checkpoint", newer, code=1)
