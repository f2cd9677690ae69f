#!/usr/bin/env python3
"""Checks what a Tabellion log stores as evidence. The reference verifier.

    tabellion_verify.py DIR [--vkey K] [--checkpoint F]... [--witness K]... [--max-quiet S] [--tsa-roots F] [--json]
        checks a whole data directory

    tabellion_verify.py BUNDLE [--vkey K] [--policy F] [--tsa-roots F] [--json]
        checks a bundle: the zip file, or the directory that was in it

    tabellion_verify.py --proof F.tlog-proof --vkey K [--witness K]... [--json]
        checks that the entry in a proof file is in the log with key K

    tabellion_verify.py --exact FILE --salt HEX --commitment HEX [--json]
    tabellion_verify.py --exact FILE --salt HEX (--proof F --vkey K | --entry F) [--part N] [--json]
        checks that FILE holds the exact bytes that an entry commits to: of the
        whole body, or of part N of it; the commitment is given, or is taken from
        the entry in a proof, which is checked too, or from the entry alone

It needs Python 3.9 or later and the `openssl` command (3.0 or later; ML-DSA-44
signatures are checked from 3.5 on, and before it said that they were not), and
nothing else; it makes no connections, writes nothing but short-lived temporary
files with public data, and shares no code with the product. Read it from top
to bottom: it says what docs/format.md says, in the same order.

K is a verifier key ("name+id+base64"), or a file with the keys of one signer,
one a line, as log.vkey is. Have it from
elsewhere than from the log itself; without --vkey, the key that lies beside
the log is used, and all that a success then means is that the log agrees with
itself. --checkpoint names a checkpoint of this log that you kept: the log must
still hold everything that it held then. Without one (or witnesses) nobody can
see that entries at the end were cut off together with their checkpoint.

--tsa-roots names the root certificates, in PEM, of the timestamp authorities
that you trust; the tokens under anchors/ are checked with them. OpenTimestamps
proofs are not: their own maker has a tool for them.

--policy names a trust policy (c2sp.org/tlog-policy): whose cosignatures on a
bundle's tree head are enough for you. A bundle has a policy and roots of its
own, which its exporter relies on; they are used where you give none, and the
report says so.

Exit status: 0 verified; 1 the evidence says no, and every place where it does
is named; 2 wrong usage; 3 the machine failed (no openssl, a disk error).
"""

import argparse
import base64
import binascii
import bisect
import concurrent.futures
import contextlib
import datetime
import functools
import hashlib
import io
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
import zlib

U64_MAX = 2**64 - 1


class Refused(Exception):
    """The evidence says no, for a reason."""

    def __init__(self, what):
        super().__init__(what)
        self.what = what


class Missing(Refused):
    """A file that must be there is not."""


class Unchecked(Exception):
    """A signature that this machine's openssl knows nothing of."""


class Usage(Exception):
    """The caller asked for something that cannot be done."""


class Environment(Exception):
    """The machine failed. This says nothing about the evidence."""


# --- Numbers, hexadecimal, base64: one value, one spelling -------------------


def decimal(text):
    """A whole number of 64 bits, without sign and leading zeros."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) > U64_MAX:
        raise Refused("%r is not a number" % text[:40])
    return int(text)


def unbase64(text):
    """Standard base64, with padding, its unused bits zero."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise Refused("base64 is malformed")
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 is malformed")
    return data


def base64_hash(text):
    data = unbase64(text)
    if len(data) != 32:
        raise Refused("a hash has 32 bytes")
    return data


def hex_hash(text):
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Refused("a hash has 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Tree: RFC 6962, section 2.1 ---------------------------------------------


def leaf_hash(entry):
    return sha256(b"\x00" + entry)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


EMPTY_ROOT = sha256(b"")


def tree_hash(nodes):
    """The root over neighbouring subtrees. All but the last are equally large,
    and the last is not larger. (With leaves: the definition itself.)"""
    if not nodes:
        return EMPTY_ROOT
    while len(nodes) > 1:
        pairs = [node_hash(nodes[i], nodes[i + 1]) for i in range(0, len(nodes) - 1, 2)]
        # One that has no right neighbour moves up as it is.
        nodes = pairs + nodes[len(pairs) * 2 :]
    return nodes[0]


def verify_inclusion(index, size, leaf, proof, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Refused("entry %d is not in a tree of %d" % (index, size))
    node, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Refused("the inclusion proof has too many hashes")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while node & 1 == 0 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Refused("the inclusion proof has too few hashes")
    if value != root:
        raise Refused("the inclusion proof does not lead to the checkpoint's root")


def verify_consistency(old_size, old_root, size, root, proof):
    """RFC 9162, section 2.1.4.2. Everything extends the empty tree."""
    if old_size > size:
        raise Refused("a tree of %d is no beginning of one of %d" % (old_size, size))
    if old_size in (0, size):
        if proof or old_root != (root if old_size == size else EMPTY_ROOT):
            raise Refused("two trees of %d entries differ" % old_size)
        return
    proof = list(proof)
    if old_size & (old_size - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        raise Refused("the consistency proof has too few hashes")
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_value = value = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            raise Refused("the consistency proof has too many hashes")
        if node & 1 or node == last:
            old_value, value = node_hash(sibling, old_value), node_hash(sibling, value)
            while node & 1 == 0 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Refused("the consistency proof has too few hashes")
    if old_value != old_root or value != root:
        raise Refused("the consistency proof does not lead from the older root to the newer")


# --- Keys and signed notes: c2sp.org/signed-note ------------------------------

ED25519, COSIGNATURE_V1, SUBTREE_V1 = 0x01, 0x04, 0x06

# Encodings (sign bit cleared) of the points whose order divides 8. As a key,
# each of them "signs" any text.
SMALL_ORDER = {
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
}


def check_name(name):
    if not name or any(c.isspace() or c == "+" or unicodedata.category(c) == "Cc" for c in name):
        raise Refused("a key's name is not empty and has no spaces, control characters or plus signs")


class VerifierKey:
    """name "+" key id in hexadecimal "+" base64(algorithm || public key)."""

    def __init__(self, text):
        fields = text.split("+", 2)
        if len(fields) != 3 or not re.fullmatch(r"[0-9a-f]{8}", fields[1]):
            raise Refused("key is malformed")
        self.text, self.name, self.id = text, fields[0], bytes.fromhex(fields[1])
        check_name(self.name)
        key = unbase64(fields[2])
        self.algorithm, self.public = key[:1], key[1:]
        if self.algorithm not in (b"\x01", b"\x04", b"\x06"):
            raise Refused("key is of a kind that is not supported")
        if len(self.public) != (1312 if self.algorithm == b"\x06" else 32):
            raise Refused("key is malformed")
        if self.algorithm == b"\x06" and len(self.name.encode()) > 255:
            raise Refused("a key's name is too long for ML-DSA-44")
        if sha256(self.name.encode() + b"\n" + key)[:4] != self.id:
            raise Refused("key does not belong to its id")
        if len(self.public) == 32 and self.public[:31] + bytes([self.public[31] & 0x7F]) in SMALL_ORDER:
            raise Refused("key is not a usable Ed25519 key")
        self.algorithm = key[0]

    def check(self, text, signature):
        """Checks a signature over a note's text. Gives the time that a
        cosignature speaks of, None of a plain signature."""
        if self.algorithm == SUBTREE_V1:
            return self.check_subtree(text, signature)
        time, message = None, text.encode()
        if self.algorithm == COSIGNATURE_V1:  # c2sp.org/tlog-cosignature
            if len(signature) != 72:
                raise Refused("bad cosignature by %s" % self.name)
            (time,) = struct.unpack(">Q", signature[:8])
            if time >= 2**63:
                raise Refused("bad cosignature by %s" % self.name)
            signature = signature[8:]
            message = b"cosignature/v1\ntime %d\n" % time + message
        if len(signature) != 64 or not ed25519_verify(self.public, message, signature):
            raise Refused("bad signature by %s" % self.name)
        return time


    def check_subtree(self, text, signature):
        """c2sp.org/tlog-cosignature, "ML-DSA-44 signed message"."""
        if len(signature) != 8 + 2420:
            raise Refused("bad signature by %s" % self.name)
        (time,) = struct.unpack(">Q", signature[:8])
        if time >= 2**63:
            raise Refused("bad signature by %s" % self.name)
        head = Checkpoint(text)
        names = [self.name.encode(), head.origin.encode()]
        if len(names[1]) > 255:
            raise Refused("bad signature by %s" % self.name)
        message = b"subtree/v1\n\0" + bytes([len(names[0])]) + names[0] + signature[:8]
        message += bytes([len(names[1])]) + names[1] + struct.pack(">QQ", 0, head.size) + head.root
        if not openssl_has_ml_dsa():
            raise Unchecked("the ML-DSA-44 signature by %s was not checked: that takes openssl 3.5 or later" % self.name)
        if not ml_dsa_verify(self.public, message, signature[8:]):
            raise Refused("bad signature by %s" % self.name)
        return time


@functools.lru_cache(maxsize=1)
def openssl_has_ml_dsa():
    command = ["openssl", "list", "-signature-algorithms"]
    try:
        listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Environment("cannot run openssl: %s" % error)
    return b"ML-DSA-44" in listed.stdout


def ml_dsa_verify(public, message, signature):
    # SubjectPublicKeyInfo of an ML-DSA-44 key (RFC 9881).
    return openssl_verify(bytes.fromhex("30820532300b06096086480165030403110382052100") + public, message, signature)


def ed25519_verify(public, message, signature):
    # SubjectPublicKeyInfo of an Ed25519 key (RFC 8410, section 4).
    return openssl_verify(bytes.fromhex("302a300506032b6570032100") + public, message, signature)


@functools.lru_cache(maxsize=256)
def openssl_verify(spki, message, signature):
    """Whether the signature is right, as `openssl` sees it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, data in (("key", spki), ("message", message), ("signature", signature)):
            paths[name] = os.path.join(folder, name)
            with open(paths[name], "wb") as f:
                f.write(data)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", paths["key"]]
        command += ["-in", paths["message"], "-sigfile", paths["signature"]]
        try:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise Environment("cannot run openssl: %s" % error)
    if result.returncode == 0:
        return True
    if b"Signature Verification Failure" in result.stdout + result.stderr:
        return False
    # A key that is no point, for one; or an openssl that is too old.
    said = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()
    if any("rawin" in line or "nknown" in line for line in said):
        raise Environment("openssl cannot verify Ed25519 signatures (3.0 or later is needed): %s" % said[0])
    return False


# --- Timestamps: RFC 3161, as `openssl ts` sees them ----------------------------

ANCHOR_NAME = re.compile(r"(0|[1-9][0-9]{0,19})(-[1-9][0-9]{0,19})?(\.tsr|\.ots|\.pending\.ots)")
CLOCKS_APART = datetime.timedelta(seconds=60)


def parse_time(text):
    """An entry's time."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused("an entry that it is about has no time")


def openssl_ts(*arguments):
    try:
        return subprocess.run(
            ["openssl", "ts", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise Environment("cannot run openssl: %s" % error)


def check_timestamp(path, message, roots):
    """The time of a token about a message, and how far it may be off.

    The certificates must have been valid at that time, not today."""
    said = openssl_ts("-reply", "-in", path, "-text")
    text = said.stdout.decode("utf-8", "replace")
    found = re.search(r"^Time stamp: (\w{3} +\d+ \d\d:\d\d:\d\d(?:\.\d+)? \d{4}) GMT$", text, re.MULTILINE)
    if said.returncode != 0 or not found:
        raise Refused("is no timestamp token")
    words = found[1].split()
    clock, _, fraction = words[2].partition(".")
    time = datetime.datetime.strptime(" ".join([words[0], words[1], clock, words[3]]), "%b %d %H:%M:%S %Y")
    time = time.replace(tzinfo=datetime.timezone.utc, microsecond=int((fraction + "000000")[:6]))
    units = re.search(r"^Accuracy: (\w+) seconds, (\w+) millis, (\w+) micros$", text, re.MULTILINE)
    seconds, millis, micros = (int(unit, 16) if unit.startswith("0x") else 0 for unit in units.groups()) if units else (0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "message")
        with open(data, "wb") as f:
            f.write(message)
        checked = openssl_ts("-verify", "-data", data, "-in", path, "-CAfile", roots, "-attime", str(int(time.timestamp())))
    if checked.returncode != 0 or b"Verification: OK" not in checked.stdout + checked.stderr:
        raise Refused("is no token about these entries by an authority under these roots")
    return time, datetime.timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


NOTE_BYTES_MAX, SIGNATURES_MAX = 2**20, 64
EM_DASH = "\u2014 "


def parse_note(data):
    """The text, and the signatures as (name, key id, signature)."""
    if len(data) > NOTE_BYTES_MAX:
        raise Refused("note is too large")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("note is not UTF-8")
    if any(c < " " and c != "\n" for c in note):
        raise Refused("note has control characters")
    # The text may have empty lines of its own; the last one ends it.
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        raise Refused("note is malformed")
    text, lines = note[: end + 1], note[end + 2 :].split("\n")[:-1]
    if not lines or len(lines) > SIGNATURES_MAX:
        raise Refused("note has no signatures, or too many")
    signatures = []
    for line in lines:
        fields = line[len(EM_DASH) :].split(" ", 1)
        if not line.startswith(EM_DASH) or len(fields) != 2:
            raise Refused("note has a malformed signature line")
        check_name(fields[0])
        signature = unbase64(fields[1])
        if len(signature) < 5:
            raise Refused("note has a malformed signature line")
        signatures.append((fields[0], signature[:4], signature[4:]))
    return text, signatures


def parse_keys(text):
    """The keys of one signer, one a line."""
    keys = [VerifierKey(line) for line in (text[:-1] if text.endswith("\n") else text).split("\n")]
    if len(keys) > 8 or len({key.name for key in keys}) > 1 or len({key.text for key in keys}) < len(keys):
        raise Refused("these are not the keys of one signer")
    return keys


def verify_note(data, keys, notes=None):
    """The text, and who of `keys` signed it, as a list of (key, time).

    Signatures by other keys are ignored; a bad one by one of `keys` refuses
    the note. What cannot be checked here counts for nothing, and is said in
    `notes`."""
    text, signatures = parse_note(data)
    signers = []
    for name, key_id, signature in signatures:
        for key in keys:
            if (key.name, key.id) == (name, key_id):
                try:
                    signers.append((key, key.check(text, signature)))
                except Unchecked as unchecked:
                    if notes is not None:
                        notes.append(str(unchecked))
    return text, signers


# --- Checkpoints: c2sp.org/tlog-checkpoint ------------------------------------


class Checkpoint:
    """A log's name, how many entries it has, and the root of their tree."""

    def __init__(self, text):
        lines = text.split("\n")
        if lines.pop() != "" or len(lines) < 3 or not all(lines):
            raise Refused("checkpoint is malformed")
        self.text, self.origin = text, lines[0]
        self.size, self.root = decimal(lines[1]), base64_hash(lines[2])


def check_beside(data, keys, notes, newest):
    """Checks the signatures by further keys of the log. The newest checkpoint
    must have one by each; an older one may be from before there was the key."""
    verify_note(data, keys, notes)
    by = [(name, key_id) for name, key_id, _ in parse_note(data)[1]]
    for key in keys:
        if newest and (key.name, key.id) not in by:
            raise Refused("checkpoint is not signed with the log's key %s" % key.id.hex())


def verify_checkpoint(data, key):
    """A checkpoint that the log with this key signed."""
    if key.algorithm != ED25519:
        raise Usage("%s is not a log's key" % key.name)
    text, signers = verify_note(data, [key])
    if not signers:
        raise Refused("checkpoint is not signed by %s" % key.text)
    checkpoint = Checkpoint(text)
    if checkpoint.origin != key.name:
        raise Refused("checkpoint is of %s, not of %s" % (checkpoint.origin, key.name))
    return checkpoint


def cosignatures_by_key(data, witnesses, notes=None):
    """When each of the witnesses' keys cosigned the checkpoint, by the witness's
    own clock; those that did not are left out."""
    if any(key.algorithm not in (COSIGNATURE_V1, SUBTREE_V1) for key in witnesses):
        raise Usage("a witness's key has algorithm 4 or 6")
    text, signers = verify_note(data, witnesses, notes)
    Checkpoint(text)
    times = {}
    for key, time in signers:
        # Without a time it says nothing of the newest tree.
        if time == 0:
            continue
        times[key.text] = max(time, times.get(key.text, 0))
    return times


def cosignatures(data, witnesses, notes=None):
    """The same by witness."""
    times, names = {}, {key.text: key.name for key in witnesses}
    for text, time in cosignatures_by_key(data, witnesses, notes).items():
        times[names[text]] = max(time, times.get(names[text], 0))
    return times


# --- Files: c2sp.org/tlog-tiles ------------------------------------------------

WIDTH = 256  # hashes in a full tile, entries in a full bundle


def index_path(n):
    """1234067 is x001/x234/067."""
    groups = ["%03d" % (n % 1000)]
    while n >= 1000:
        n //= 1000
        groups.insert(0, "x%03d" % (n % 1000))
    return "/".join(groups)


def parse_index_path(path):
    if not re.fullmatch(r"(x[0-9]{3}/)*[0-9]{3}", path):
        raise Refused("not a name that anything in a log has")
    n = int(re.sub(r"[x/]", "", path)[-24:])
    if n > U64_MAX or index_path(n) != path:
        raise Refused("not a name that anything in a log has")
    return n


def tile_path(level, index, width):
    """Below log/. `level` is "entries" for a bundle."""
    return "tile/%s/%s" % (level, index_path(index)) + ("" if width == WIDTH else ".p/%d" % width)


def parse_tile_path(path):
    """(level, index, width)."""
    match = re.fullmatch(r"tile/(entries|[0-9]{1,2})/([x0-9/]+)(?:\.p/([0-9]{1,3}))?", path)
    if not match:
        raise Refused("not a name that anything in a log has")
    level = match[1] if match[1] == "entries" else int(match[1])
    width = WIDTH if match[3] is None else int(match[3])
    index = parse_index_path(match[2])
    # Tells leading zeros, widths of 0 and of 256 and more, and levels above 63.
    if tile_path(level, index, width) != path or not 1 <= width <= WIDTH or (level != "entries" and level > 63):
        raise Refused("not a name that anything in a log has")
    return level, index, width


def parse_bundle(data, width):
    """Up to 256 entries, each with its length in 16 bits before it."""
    entries, at = [], 0
    for _ in range(width):
        if at + 2 > len(data):
            raise Refused("bundle ends before entry %d of it" % len(entries))
        (length,) = struct.unpack_from(">H", data, at)
        entry = data[at + 2 : at + 2 + length]
        if len(entry) != length:
            raise Refused("bundle ends inside entry %d of it" % len(entries))
        entries.append(entry)
        at += 2 + length
    if at != len(data):
        raise Refused("bundle goes on after its last entry")
    return entries


# --- Content packs ---------------------------------------------------------------


def read_pack(file):
    """The parts of a pack, as (hash, offset of its bytes, its bytes)."""
    offset = 0
    while True:
        header = file.read(36)
        if not header:
            return
        if len(header) != 36:
            raise Refused("pack ends inside the part at byte %d" % offset)
        digest, (length,) = header[:32], struct.unpack(">I", header[32:])
        part = file.read(length)
        if len(part) != length:
            raise Refused("pack ends inside the part at byte %d" % offset)
        if sha256(part) != digest:
            raise Refused("part at byte %d does not have its hash" % offset)
        yield digest, offset + 36, part
        offset += 36 + length


def check_body(frame, parts, length, digest):
    """The body is the frame, each zero byte replaced by the next part."""
    pieces = frame.split(b"\x00")
    if len(pieces) - 1 != len(parts):
        raise Refused("the frame has room for %d parts, and there are %d" % (len(pieces) - 1, len(parts)))
    body, total = hashlib.sha256(pieces[0]), len(pieces[0])
    for part, piece in zip(parts, pieces[1:]):
        part = part()  # read when it is its turn: a body need not fit in memory
        body.update(part)
        body.update(piece)
        total += len(part) + len(piece)
    if total != length or body.digest() != digest:
        raise Refused("the parts do not make the body that content.sha256 names")


# --- Entries ---------------------------------------------------------------------

ENTRY_BYTES_MAX = 65535
NESTING_MAX = 127
OUTCOMES = ("complete", "error", "client_gone", "interrupted", "refused")
OMITTED = ("empty", "binary", "too_large")
PRODUCER_BYTES_MAX, NUMBERS = 64, 2**53


def parse_json(data):
    """A JSON object that every reader reads the same: UTF-8, no member twice,
    whole characters, finite numbers, not nested deeper than 127."""

    def members(pairs):
        names = set()
        for name, _ in pairs:
            if name in names:
                raise Refused("member %r occurs twice" % name[:40])
            names.add(name)
        return dict(pairs)

    def number(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise Refused("a number is too large")
        # "-0" is no whole number: it is not the same as 0 everywhere.
        return value if text == "-0" or not re.fullmatch(r"-?[0-9]+", text) else int(text)

    def constant(text):
        raise Refused("%s is not JSON" % text)

    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=constant
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on half a surrogate pair
    except (ValueError, RecursionError):
        raise Refused("not JSON")
    if not isinstance(value, dict):
        raise Refused("not a JSON object")
    level, depth = [value], 0
    while level:
        depth += 1
        inner = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in inner if isinstance(item, (dict, list))]
    if depth > NESTING_MAX:
        raise Refused("nested too deeply")
    return value


def a_text(value):
    return isinstance(value, str)


def unsigned(bits):
    return lambda value: type(value) is int and 0 <= value < 2**bits


def one_of(*words):
    return lambda value: isinstance(value, str) and value in words


def a_hash(value):
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def a_prefixed_hash(value):
    return isinstance(value, str) and value.startswith("sha256:") and a_hash(value[len("sha256:") :])


def list_of(check):
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def map_to(check):
    return lambda value: isinstance(value, dict) and all(check(item) for item in value.values())


def record(required, optional):
    """An object with these members, and any others."""

    def check(value):
        if not isinstance(value, dict):
            return False
        for name, kind in required.items():
            if name not in value or not kind(value[name]):
                return False
        return all(name not in value or kind(value[name]) for name, kind in optional.items())

    return check


def is_bool(value):
    return isinstance(value, bool)


def a_range(value):
    return isinstance(value, list) and len(value) == 2 and all(unsigned(64)(item) for item in value)


PART = record({"role": a_text, "sha256": a_hash, "bytes": unsigned(64)}, {"findings": map_to(unsigned(32))})
PARTS = list_of(PART)
MANIFEST = record({"content": PARTS}, {"original": list_of(a_hash), "tokens": list_of(a_text), "sealed": list_of(a_hash)})
ENTRY = {
    "kind": a_text,
    "id": a_text,
    "time": a_text,
}
ENTRY_OPTIONAL = {
    "exchange": a_text,
    "upstream": a_text,
    "operation": a_text,
    "model": a_text,
    "case": a_text,
    "actor": a_text,
    "tags": map_to(a_text),
    "content": record(
        {},
        {
            "sha256": a_hash,
            "bytes": unsigned(64),
            "parts": PARTS,
            "manifest": a_hash,
            "assembled": is_bool,
            "omitted": one_of(*OMITTED),
        },
    ),
    "original": record({"bytes": unsigned(64), "commitment": a_hash}, {"parts": list_of(a_hash), "sealed": list_of(a_hash)}),
    "redaction": record(
        {"policy": a_prefixed_hash},
        {
            "findings": map_to(unsigned(32)),
            "tokens": list_of(a_text),
            "external": map_to(unsigned(32)),
            "external_failures": map_to(a_text),
        },
    ),
    "outcome": one_of(*OUTCOMES),
    "status": unsigned(16),
    "reason": a_text,
    "usage": record({}, {"input": unsigned(64), "output": unsigned(64)}),
    "trace": a_text,
    "producer": a_text,
    "seq": unsigned(64),
    "key": a_text,
    "former": record({"producer": a_text, "seq": unsigned(64)}, {}),
    "gap": record({"reason": a_text, "count": unsigned(64)}, {"since": a_text, "until": a_text}),
    "why": a_text,
    "act": record(
        {},
        {
            "key": a_text,
            "role": a_text,
            "holder": a_text,
            "sha256": a_hash,
            "public": a_text,
            "expires": a_text,
            "upstreams": list_of(a_text),
            "exchanges": list_of(a_text),
            "tokens": list_of(a_text),
            "query": a_text,
            "hold": a_text,
            "kind": a_text,
            "details": map_to(a_text),
            "statement": a_text,
            "signature": a_text,
            "approve": list_of(a_text),
            "approval": unsigned(64),
            "from": a_text,
        },
    ),
    "reveal": record({"entry": unsigned(64), "bytes": unsigned(64)}, {"part": unsigned(64), "salt": is_bool}),
    "erase": record({"entries": list_of(a_range)}, {"selection": map_to(a_text), "basis": a_text}),
    "recipients": list_of(a_text),
}


def is_session(producer, seq):
    return 1 <= len(producer.encode()) <= PRODUCER_BYTES_MAX and seq < NUMBERS


def check_frame_first(parts):
    if not parts or parts[0]["role"] != "frame":
        raise Refused("the first part is not a frame")


def parse_entry(data):
    """An entry, with what its members must say about each other."""
    if len(data) > ENTRY_BYTES_MAX:
        raise Refused("entry is too long")
    entry = parse_json(data)
    if not unsigned(32)(entry.get("v")) or entry["v"] != 1:
        raise Refused("entry is not of version 1")
    for name, kind in ENTRY.items():
        if name not in entry or not kind(entry[name]):
            raise Refused("entry has no proper %r" % name)
    for name, kind in ENTRY_OPTIONAL.items():
        if name in entry and not kind(entry[name]):
            raise Refused("entry has no proper %r" % name)
    if entry["kind"] == "exchange.request" and entry.get("exchange") != entry["id"]:
        raise Refused("request is not its own exchange")
    if entry["kind"] == "exchange.response" and not ("exchange" in entry and "outcome" in entry):
        raise Refused("response lacks its exchange or its outcome")
    if ("producer" in entry) != ("seq" in entry):
        raise Refused("entry does not say both its session and its number")
    if "producer" in entry and not is_session(entry["producer"], entry["seq"]):
        raise Refused("entry has an unusable session or number")
    if "former" in entry and not is_session(entry["former"]["producer"], entry["former"]["seq"]):
        raise Refused("entry names an unusable session or number")
    if entry["kind"] == "custody.gap" and not entry.get("gap", {}).get("count"):
        raise Refused("gap does not say what was lost")
    if entry["kind"] in ("custody.erase", "custody.expire"):
        ranges = entry.get("erase", {}).get("entries", [])
        if not ranges or any(first > last or last >= NUMBERS for first, last in ranges):
            raise Refused("erasure does not say what was erased")
        if any(a[1] + 1 >= b[0] for a, b in zip(ranges, ranges[1:])):
            raise Refused("erasure does not name its ranges in order")
    if "content" in entry:
        content = entry["content"]
        parts = content.get("parts")
        if "omitted" in content:
            if parts or any(name in content for name in ("sha256", "bytes", "manifest")):
                raise Refused("content is both omitted and there")
        elif "sha256" not in content or "bytes" not in content:
            raise Refused("content does not say what it is")
        elif "manifest" in content:
            if parts:
                raise Refused("content has a list of parts and a manifest")
        else:
            check_frame_first(parts)
    return entry


def parse_manifest(data):
    manifest = parse_json(data)
    if not MANIFEST(manifest):
        raise Refused("manifest is malformed")
    check_frame_first(manifest["content"])
    return manifest


# --- Proof files: c2sp.org/tlog-proof ----------------------------------------------

PROOF_BYTES_MAX, HASHES_MAX = 2 * 2**20, 64
PROOF_MAGIC = b"c2sp.org/tlog-proof@"


class Proof:
    def __init__(self, data):
        if len(data) > PROOF_BYTES_MAX:
            raise Refused("proof file is too large")
        try:
            head, gap, checkpoint = data.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError:
            raise Refused("proof file is not UTF-8")
        lines = head.split("\n")
        if not gap or lines.pop(0) != "c2sp.org/tlog-proof@v1":
            raise Refused("proof file is malformed")
        self.extra = None
        if lines and lines[0].startswith("extra "):
            self.extra = unbase64(lines.pop(0)[len("extra ") :])
        if not lines or not lines[0].startswith("index "):
            raise Refused("proof file is malformed")
        self.index = decimal(lines.pop(0)[len("index ") :])
        if len(lines) > HASHES_MAX:
            raise Refused("proof file is too large")
        self.hashes = [base64_hash(line) for line in lines]
        self.checkpoint = checkpoint.encode()

    def verify(self, entry, key):
        checkpoint = verify_checkpoint(self.checkpoint, key)
        verify_inclusion(self.index, checkpoint.size, leaf_hash(entry), self.hashes, checkpoint.root)
        return checkpoint

# --- COSE receipts: docs/format.md, "COSE" -------------------------------------------

RECEIPT_BYTES_MAX = 16 << 10
RECEIPT, ALGORITHM, CRITICAL, KEY_ID, CLAIMS, VDS, VDP = 18, 1, 2, 4, 15, 395, 396
EDDSA, RFC9162_SHA256, INCLUSION, CONSISTENCY = -8, 1, -1, -2


class Cbor:
    """As much of CBOR (RFC 8949) as a receipt has: definite lengths."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise Refused("the receipt is malformed")
        self.at += length
        return self.data[self.at - length : self.at]

    def item(self, depth=0):
        if depth > 8:
            raise Refused("the receipt is malformed")
        (first,) = self.take(1)
        kind, small = first >> 5, first & 31
        if kind == 7:
            if small not in (20, 21, 22, 23):
                raise Refused("the receipt is malformed")
            return {20: False, 21: True}.get(small)
        if small > 27:
            raise Refused("the receipt is malformed")
        value = small if small < 24 else int.from_bytes(self.take(1 << (small - 24)), "big")
        if kind in (2, 3):
            data = self.take(value)
            try:
                return data if kind == 2 else data.decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("the receipt is malformed")
        if kind in (4, 5) and value > len(self.data):
            raise Refused("the receipt is malformed")
        if kind == 4:
            return [self.item(depth + 1) for _ in range(value)]
        if kind == 5:
            found = {}
            for _ in range(value):
                name = self.item(depth + 1)
                if not isinstance(name, (int, str)) or name in found:
                    raise Refused("the receipt is malformed")
                found[name] = self.item(depth + 1)
            return found
        if kind == 6:
            return (value, self.item(depth + 1))
        return value if kind == 0 else -1 - value


def cbor(data, kind):
    """The one item that these bytes are, which must be of this kind."""
    reader = Cbor(data)
    value = reader.item()
    if reader.at != len(data) or not isinstance(value, kind):
        raise Refused("the receipt is malformed")
    return value


def cbor_bytes(data):
    """The bytes as a byte string."""
    length = len(data)
    if length < 24:
        return bytes([0x40 | length]) + data
    return (b"\x58" + bytes([length]) if length < 256 else b"\x59" + struct.pack(">H", length)) + data


class Receipt:
    """A COSE_Sign1 of a log over a root that is elsewhere, with one proof (RFC 9942)."""

    def __init__(self, data, kind):
        if len(data) > RECEIPT_BYTES_MAX:
            raise Refused("the receipt is too large")
        tag, fields = cbor(data, tuple)
        if tag != RECEIPT or not isinstance(fields, list) or len(fields) != 4:
            raise Refused("the receipt is malformed")
        self.protected, unprotected, payload, self.signature = fields
        if not isinstance(self.protected, bytes) or not isinstance(self.signature, bytes) or not isinstance(unprotected, dict):
            raise Refused("the receipt is malformed")
        headers = cbor(self.protected, dict)
        if headers.get(ALGORITHM) != EDDSA or headers.get(VDS) != RFC9162_SHA256 or CRITICAL in headers or payload is not None:
            raise Refused("the receipt is of a kind that is not supported")
        proofs = unprotected.get(VDP)
        if not isinstance(proofs, dict) or not isinstance(proofs.get(kind, []), list):
            raise Refused("the receipt is malformed")
        proofs = proofs.get(kind, [])
        if len(proofs) != 1 or not isinstance(proofs[0], bytes):
            raise Refused("the receipt does not prove this")
        proof = cbor(proofs[0], list)
        if len(proof) != 3 or not isinstance(proof[2], list) or not 1 <= len(proof[2]) <= HASHES_MAX:
            raise Refused("the receipt is malformed")
        self.first, self.second, self.hashes = proof
        if not all(unsigned(64)(number) for number in proof[:2]):
            raise Refused("the receipt is malformed")
        if not all(isinstance(one, bytes) and len(one) == 32 for one in self.hashes):
            raise Refused("the receipt is malformed")

    def check(self, root, key):
        """RFC 9052, section 4.4."""
        message = b"\x84\x6aSignature1" + cbor_bytes(self.protected) + b"\x40" + cbor_bytes(root)
        if len(self.signature) != 64 or not ed25519_verify(key.public, message, self.signature):
            raise Refused("the receipt's signature does not fit the entry and the proof")


def check_receipt(data, index, entry, head, key):
    """A receipt that the tree of a checkpoint has the entry."""
    receipt = Receipt(data, INCLUSION)
    if (receipt.first, receipt.second) != (head.size, index):
        raise Refused("is a receipt for another place or another tree than the bundle's")
    verify_inclusion(index, head.size, leaf_hash(entry), receipt.hashes, head.root)
    receipt.check(head.root, key)


def check_older_receipt(data, older, head, key):
    """A receipt that the tree of a checkpoint extends that of an older one."""
    receipt = Receipt(data, CONSISTENCY)
    if (receipt.first, receipt.second) != (older.size, head.size):
        raise Refused("is a receipt for another place or another tree than the bundle's")
    verify_consistency(older.size, older.root, head.size, head.root, receipt.hashes)
    receipt.check(head.root, key)


# --- Trust policies: c2sp.org/tlog-policy ----------------------------------------------

POLICY_BYTES_MAX, POLICY_LINES_MAX = 1 << 20, 1024


class Policy:
    """Which logs are accepted, which witnesses are known, whose cosignatures are enough."""

    def __init__(self, data):
        if len(data) > POLICY_BYTES_MAX:
            raise Refused("policy is too large")
        self.logs, self.witnesses, self.groups, self.names = [], [], [], {}
        taken, quorums = set(), []
        lines = data.split(b"\n")
        if lines.pop() != b"":
            raise Refused("line %d of the policy does not end" % (len(lines) + 1))
        for number, line in enumerate(lines, 1):
            try:
                if any(byte < 0x20 and byte != 9 or byte == 0x7F for byte in line):
                    raise Refused("has control characters")
                items = [item for item in re.split(rb"[ \t]", line) if item]
                if items and not items[0].startswith(b"#"):
                    self.line(items, taken, quorums)
                if max(len(self.logs), len(self.witnesses), len(self.groups)) > POLICY_LINES_MAX:
                    raise Refused("is one too many")
            except (Refused, UnicodeDecodeError) as error:
                raise Refused("line %d of the policy %s" % (number, error))
        if len(quorums) != 1:
            raise Refused("policy has no quorum line, or several")
        self.quorum = quorums[0]

    def line(self, items, taken, quorums):
        word, rest = items[0], items[1:]
        if word == b"log" and len(rest) in (1, 2):
            key = VerifierKey(rest[0].decode("utf-8"))
            if key.algorithm not in (ED25519, SUBTREE_V1) or any(key.public == other.public for other in self.logs):
                raise Refused("has a key that is no log's, or another log's")
            self.logs.append(key)
        elif word == b"witness" and len(rest) in (2, 3):
            key = VerifierKey(rest[1].decode("utf-8"))
            if key.algorithm not in (COSIGNATURE_V1, SUBTREE_V1) or any(key.public == k.public for _, k in self.witnesses):
                raise Refused("has a key that is no witness's, or another witness's")
            self.define(rest[0], ("witness", len(self.witnesses)))
            self.witnesses.append((rest[0].decode("utf-8", "replace"), key))
        elif word == b"group" and len(rest) >= 3:
            members = []
            for member in rest[2:]:
                if member not in self.names or member in taken:
                    raise Refused("names what is not defined, or in a group already")
                taken.add(member)
                members.append(self.names[member])
            need = {b"all": len(members), b"any": 1}.get(rest[1])
            need = decimal(rest[1].decode("utf-8")) if need is None else need
            if not 1 <= need <= len(members):
                raise Refused("wants a number of members that there cannot be")
            self.define(rest[0], ("group", len(self.groups)))
            self.groups.append((need, members))
        elif word == b"quorum" and len(rest) == 1:
            if rest[0] != b"none" and rest[0] not in self.names:
                raise Refused("names what no line before it defines")
            quorums.append(self.names.get(rest[0]))
        else:
            raise Refused("is no line of a policy")

    def define(self, name, member):
        if name == b"none" or name in self.names:
            raise Refused("defines a name again, or `none`")
        self.names[name] = member

    def decide(self, checkpoint, notes):
        """Who cosigned (name, time), and whether that is enough."""
        times = cosignatures_by_key(checkpoint, [key for _, key in self.witnesses], notes)
        have = [times.get(key.text) is not None for _, key in self.witnesses]
        groups = []
        for need, members in self.groups:
            groups.append(sum((have if kind == "witness" else groups)[nth] for kind, nth in members) >= need)
        enough = self.quorum is None or (have if self.quorum[0] == "witness" else groups)[self.quorum[1]]
        return [(name, times[key.text]) for name, key in self.witnesses if key.text in times], enough


# --- Sessions and numbers: docs/format.md, the section of this name -----------------

TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z")


def seconds_of(time):
    """POSIX seconds, of RFC 3339 in UTC; None if it is none."""
    match = TIME.fullmatch(time)
    if not match:
        return None
    try:
        day = datetime.date(int(match[1]), int(match[2]), int(match[3])).toordinal() - 719163
    except ValueError:
        return None
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    if hour > 23 or minute > 59 or second > 60:
        return None
    return ((day * 24 + hour) * 60 + minute) * 60 + second + int((match[7] or "0").ljust(9, "0")) / 1e9


class Session:
    def __init__(self, first):
        self.first, self.last, self.next = first, first, 0
        self.holes = {}  # first number of a hole: (number after it, entry that showed it)
        self.former, self.former_stopped, self.started = None, True, False
        self.ended, self.stopped, self.newest = None, False, None


class Sessions:
    """Whether anything is missing, by the numbers of the entries."""

    def __init__(self, problem, key=None, quiet_max=None):
        self.problem, self.key, self.quiet_max = problem, key, quiet_max
        self.sessions, self.writer = {}, None
        self.numbered, self.unnumbered, self.lost, self.quiet = 0, 0, 0, 0.0
        self.gaps = []

    def take(self, position, entry):
        def problem(what):
            self.problem("entry %d" % position, what)

        if "producer" not in entry:
            self.unnumbered += 1
            if self.sessions:
                problem("has no number, and entries before it have")
            return
        self.numbered += 1
        name, number, kind = entry["producer"], entry["seq"], entry["kind"]
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = self.begin(position, entry, problem)
            if kind == "custody.start" and "key" in entry:
                self.writer = session
        else:
            if kind == "custody.start":
                problem("is a second start of its session")
            if session.ended is not None:
                problem("belongs to a session that entry %d ended" % session.ended)
        self.count(session, number, position, problem)
        session.last = position
        if kind == "custody.recover":
            if entry.get("former") != session.former:
                problem("says of the session before what is not so")
        elif number == 1 and session.started and session.former is not None and not session.former_stopped:
            problem("stands where it should be said that the session before was not stopped")
        if kind == "custody.stop":
            session.stopped = True
            session.ended = position if session.ended is None else session.ended
        elif kind == "custody.gap":
            self.lost += entry["gap"]["count"]
            reason = entry["gap"]["reason"]
            # A fixed word, unless somebody wants to say something to whoever reads this.
            reason = reason if re.fullmatch(r"[a-z_]{1,32}", reason) else "other"
            self.gaps.append({"entry": position, "reason": reason, "count": entry["gap"]["count"]})
        time = seconds_of(entry["time"])
        if time is not None:
            quiet = time - (time if session.newest is None else session.newest)
            self.quiet = max(self.quiet, quiet)
            if self.quiet_max is not None and quiet > self.quiet_max:
                problem("comes after %d seconds in which nothing was recorded" % quiet)
            session.newest = time if session.newest is None else max(session.newest, time)

    def begin(self, position, entry, problem):
        session = Session(position)
        if entry["kind"] != "custody.start":
            problem("is the first of its session and not its start")
            return session
        session.started, session.former = True, entry.get("former")
        if "key" in entry:
            if self.key is not None and entry["key"] != self.key:
                problem("names another key than the one that the log is signed with")
            session.former_stopped = self.follow(position, session.former, problem)
        return session

    def follow(self, position, former, problem):
        """Holds what a start says of the session before against that."""
        before = self.writer
        if before is None:
            if former is not None:
                problem("names a session before it that is not in the log")
            return True
        if former is None:
            problem("does not name the session before it, which begins at entry %d" % before.first)
        elif self.sessions.get(former["producer"]) is not before:
            problem("names a session before it that is not in the log, or not where it says")
        elif former["seq"] >= before.next:
            missing = (before.next, former["seq"], before.first)
            problem("numbers %d to %d of the session that begins at entry %d are missing before it" % missing)
        elif former["seq"] + 1 < before.next:
            problem("says that the session before ended earlier than it does")
        if before.ended is None:
            before.ended = position
        return before.stopped

    def count(self, session, number, position, problem):
        if number >= session.next:
            if number > session.next:
                session.holes[session.next] = (number, position)
            session.next = number + 1
            return
        for first, (after, shown) in session.holes.items():
            if first <= number < after:
                problem("has number %d of its session and stands after a later one" % number)
                del session.holes[first]
                if first < number:
                    session.holes[first] = (number, shown)
                if number + 1 < after:
                    session.holes[number + 1] = (after, shown)
                return
        problem("has number %d of its session, which an earlier one has" % number)

    def finish(self):
        for session in self.sessions.values():
            for first, (after, shown) in sorted(session.holes.items()):
                missing = (first, after - 1, session.first)
                self.problem(
                    "entry %d" % shown,
                    "numbers %d to %d of the session that begins at entry %d are missing before it" % missing,
                )
        return sum(session.ended is None for session in self.sessions.values())


# --- Custody: docs/format.md, "Custody" --------------------------------------------

ROLES = ("writer", "reader", "officer", "auditor", "admin")
# Which roles may have an entry of a kind written.
MAY = {
    "exchange.request": ("writer",),
    "exchange.response": ("writer",),
    "custody.export": ("officer",),
    "custody.report": ("officer",),
    "custody.reveal": ("officer",),
    "custody.erase": ("officer",),
    "custody.expire": ("officer",),
    "custody.hold.place": ("officer",),
    "custody.hold.lift": ("officer",),
    "case.open": ("officer",),
    "case.close": ("officer",),
    "custody.request": ("officer",),
    "custody.approve": ("officer",),
    "custody.key.issue": ("admin",),
    "custody.key.revoke": ("admin",),
    "custody.policy.change": ("admin",),
}
APPROVAL_MICROS_MAX = 31 * 24 * 3600 * 10**6
STATEMENT = re.compile(
    r"tabellion approval v1\nlog ([^\n]*)\nrequest (0|[1-9][0-9]{0,19})\nnonce ([^\n]*)\nact ([^\n]*)\n"
    r"details sha256:([0-9a-f]{64})\nexpires ([^\n]*)\nkey ([^\n]*)\nreason ([^\n]*)\n"
)
# Points of small order (RFC 8032, section 5.1), without the sign: anybody can sign for such a key.
WEAK = {
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
} | {bytes([low]) + b"\xff" * 30 + b"\x7f" for low in (0xEC, 0xED, 0xEE)}


def micros_of(time):
    """Microseconds of POSIX time; None of what is none."""
    match = TIME.fullmatch(time)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
    if not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719468
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 10**6 + int((match[7] or "").ljust(9, "0")) // 1000


def act_details(entry):
    """What an approval of an act has to be about."""
    kind, act = entry["kind"], entry.get("act", {})
    if kind == "custody.hold.lift" and "hold" in act:
        return {"hold": act["hold"]}
    if kind == "custody.reveal" and "reveal" in entry:
        reveal = entry["reveal"]
        what = {(True, True): "original and salt", (True, False): "original"}
        details = {"entry": str(reveal["entry"]), "what": what.get((reveal["bytes"] > 0, reveal.get("salt", False)), "salt")}
        if "part" in reveal:
            details["part"] = str(reveal["part"])
        return details
    if kind in ("custody.erase", "custody.expire") and "erase" in entry:
        erase = entry["erase"]
        ranges = "".join("%d-%d\n" % (first, last) for first, last in erase["entries"])
        details = dict(erase.get("selection", {}))
        details["entries"] = "sha256:" + hashlib.sha256(ranges.encode()).hexdigest()
        details["count"] = str(sum(last - first + 1 for first, last in erase["entries"]))
        if "basis" in erase:
            details["basis"] = erase["basis"]
        return details
    return act.get("details", {})


def act_digest(kind, details):
    """Names an act and exactly what it does; None if it cannot be named."""
    for text in [kind, *details, *details.values()]:
        if any(unicodedata.category(c) == "Cc" for c in text):
            return None
    if any("=" in name for name in details):
        return None
    lines = "".join("%s=%s\n" % (name, details[name]) for name in sorted(details, key=lambda name: name.encode()))
    return sha256(("tabellion act v1\n%s\n%s" % (kind, lines)).encode())


class Custody:
    """Who held which key, which holds are in force, what was approved."""

    def __init__(self, problem, origin):
        self.problem, self.origin = problem, origin
        self.keys, self.holds, self.cases, self.requests, self.approvals = {}, set(), {}, {}, {}
        self.approve, self.acts = {"custody.hold.lift"}, 0

    def take(self, position, entry):
        kind, act, time = entry["kind"], entry.get("act", {}), micros_of(entry["time"])
        exchange = kind in ("exchange.request", "exchange.response")
        used = entry.get("key") if kind != "custody.start" else None
        if exchange:
            act = {}
        elif used is None and "act" not in entry and kind not in MAY:
            return

        def problem(what):
            self.problem("entry %d" % position, what)

        if used is not None:
            key = self.keys.get(used)
            refused = "uses a key that was not issued before" if key is None else self.refused(key, time)
            if refused is None and kind in MAY and key["role"] not in MAY[kind]:
                refused = "is an act that the role of its key may not do"
            if refused is None and kind == "exchange.request" and key["upstreams"]:
                if entry.get("upstream") not in key["upstreams"]:
                    refused = "uses a key that is not for this upstream"
            if refused:
                problem(refused)
        self.act(position, entry, kind, act, time, problem)
        if not exchange:
            self.acts += 1

    @staticmethod
    def refused(key, time):
        if key["revoked"]:
            return "uses a key that was revoked before"
        if key["expires"] is not None and (time is None or time > key["expires"]):
            return "uses a key that had expired"
        return None

    def act(self, position, entry, kind, act, time, problem):
        case, malformed = entry.get("case"), "does not say what an act of its kind has to"
        approval = self.approval(entry, act, time) if kind == "custody.approve" else None
        # What is wrong with it, if it comes next.
        if kind == "custody.key.issue":
            issued = self.issued(act)
            if issued is None:
                problem(malformed)
            elif issued[0] in self.keys:
                problem("issues a key that there is already")
        elif kind == "custody.key.revoke":
            if "key" not in act:
                problem(malformed)
            elif act["key"] not in self.keys or self.keys[act["key"]]["revoked"]:
                problem("revokes a key that is not in force")
        elif kind == "custody.hold.place":
            if case is None and not act.get("exchanges") and not act.get("tokens"):
                problem(malformed)
        elif kind == "custody.hold.lift":
            if "hold" not in act:
                problem(malformed)
            elif act["hold"] not in self.holds:
                problem("lifts a hold that is not in force")
        elif kind in ("case.open", "case.close"):
            if case is None:
                problem(malformed)
            elif kind == "case.open" and self.cases.get(case):
                problem("opens a case that is open")
            elif kind == "case.close" and not self.cases.get(case):
                problem("closes a case that is not open")
        elif kind == "custody.request":
            if "kind" not in act or act_digest(act["kind"], act.get("details", {})) is None:
                problem(malformed)
        elif kind == "custody.approve":
            if approval is None or not approval["good"]:
                problem("is an approval that its key did not sign, or not of a request of this log")
        elif kind == "custody.policy.change" and "approve" not in act and not act.get("details"):
            problem(malformed)
        if "approval" in act or kind in self.approve:
            self.check_approval(entry, kind, act, time, problem)
        # What it changes.
        if kind == "custody.key.issue":
            if issued is not None:
                self.keys.setdefault(*issued)
        elif kind == "custody.key.revoke":
            if act.get("key") in self.keys:
                self.keys[act["key"]]["revoked"] = True
        elif kind == "custody.hold.place":
            self.holds.add(entry["id"])
        elif kind == "custody.hold.lift":
            self.holds.discard(act.get("hold"))
        elif kind == "case.open" and case is not None:
            self.cases[case] = True
        elif kind == "case.close" and case in self.cases:
            self.cases[case] = False
        elif kind == "custody.request" and "kind" in act:
            self.requests[position] = {"id": entry["id"], "kind": act["kind"], "details": act.get("details", {}), "used": False}
        elif kind == "custody.approve" and approval is not None:
            self.approvals[position] = approval
        elif kind == "custody.policy.change" and "approve" in act:
            self.approve = set(act["approve"])
        if act.get("approval") in self.approvals:
            request = self.requests.get(self.approvals[act["approval"]]["request"])
            if request is not None:
                request["used"] = True

    @staticmethod
    def issued(act):
        """The ID of a key and what is known of it; None if the act does not say it, or calls it by another ID."""
        public = None
        try:
            if "public" in act:
                public = unbase64(act["public"])
        except Refused:
            return None
        if ("sha256" in act) == (public is not None) or (public is not None and len(public) != 32):
            return None
        digest = bytes.fromhex(act["sha256"]) if public is None else sha256(b"tabellion public key v1\n" + public)
        name = "k_" + digest.hex()[:32]
        expires = micros_of(act["expires"]) if "expires" in act else None
        if act.get("key") != name or act.get("role") not in ROLES or "holder" not in act:
            return None
        if "expires" in act and expires is None:
            return None
        known = {"role": act["role"], "holder": act["holder"], "public": public, "expires": expires, "revoked": False}
        return name, {**known, "upstreams": act.get("upstreams", [])}

    def approval(self, entry, act, time):
        """What an entry approves; None if it does not say."""
        match = STATEMENT.fullmatch(act.get("statement", ""))
        if not match or int(match[2]) > U64_MAX:
            return None
        log, _, nonce, kind, details, expires, name, _ = match.groups()
        number = int(match[2])
        request, key, until = self.requests.get(number), self.keys.get(entry.get("key")), micros_of(expires)
        good = False
        if request is not None and key is not None and key["public"] is not None and None not in (until, time):
            digest = act_digest(request["kind"], request["details"])
            good = (
                log == self.origin
                and entry["key"] == name
                and nonce == request["id"]
                and kind == request["kind"]
                and digest is not None
                and details == digest.hex()
                and until - time <= APPROVAL_MICROS_MAX
                and bytes([*key["public"][:31], key["public"][31] & 0x7F]) not in WEAK
            )
            try:
                signature = unbase64(act.get("signature", ""))
            except Refused:
                signature = b""
            statement = act["statement"].encode()
            good = good and len(signature) == 64 and ed25519_verify(key["public"], statement, signature)
            good = good and bytes([*signature[:31], signature[31] & 0x7F]) not in WEAK
        return {"request": number, "key": name, "expires": until, "good": good}

    def check_approval(self, entry, kind, act, time, problem):
        if "approval" not in act:
            return problem("is an act that needs an approval, and names none")
        approval = self.approvals.get(act["approval"])
        request = self.requests.get(approval["request"]) if approval and approval["good"] else None
        if request is None:
            return problem("names an approval that was not given before")
        details = act_details(entry)
        if request["kind"] != kind or request["details"] != details:
            return problem("uses an approval of another act")
        if request["used"]:
            return problem("uses an approval a second time")
        approver = self.keys[approval["key"]]
        if approval["expires"] is None or time is None or time > approval["expires"] or self.refused(approver, time):
            return problem("uses an approval that was not valid any more")
        holder = self.keys.get(entry.get("key"), {}).get("holder")
        named = entry["actor"].split(" (uid ")[0] if "actor" in entry else None
        if approver["holder"] in (holder, named):
            problem("uses an approval by the one who acts")


# --- A whole data directory: docs/format.md, "What a verifier does" ----------------


def read_file(path):
    """The bytes of a plain file; None if there is none."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def walk(root):
    """Everything below a folder that is not a folder, as (path below it with
    "/" between, whether it is a plain file), in order."""
    found = []
    for folder, folders, files in os.walk(root, onerror=walk_failed):
        # os.walk lists links to folders among the folders, and does not enter.
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in files + links:
            path = os.path.join(folder, name)
            plain = stat.S_ISREG(os.lstat(path).st_mode)
            found.append((os.path.relpath(path, root).replace(os.sep, "/"), plain))
    return sorted(found)


def walk_failed(error):
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


# After so many, nobody reads on, and a checkpoint with an absurd size would
# have a missing bundle for each of its entries.
PROBLEMS_MAX = 1000


class Ranges:
    """Entries, as ranges from the first to the last of each: of millions that
    expired, few."""

    def __init__(self, ranges=()):
        self.list = list(ranges)

    def add(self, first, last):
        # Nearly all come in order.
        if self.list and self.list[-1][0] <= first <= self.list[-1][1] + 1:
            self.list[-1] = (self.list[-1][0], max(last, self.list[-1][1]))
        else:
            self.list.append((first, last))

    def ordered(self):
        """The ranges in order, apart from each other."""
        ranges = Ranges()
        for first, last in sorted(self.list):
            ranges.add(first, last)
        self.list = ranges.list
        return self.list

    def without(self, others):
        rest, others, at = Ranges(), others.ordered(), 0
        for first, last in self.ordered():
            while at < len(others) and others[at][1] < first:
                at += 1
            nth = at
            while nth < len(others) and others[nth][0] <= last:
                if first < others[nth][0]:
                    rest.add(first, others[nth][0] - 1)
                first, nth = others[nth][1] + 1, nth + 1
            if first <= last:
                rest.add(first, last)
        return rest

    def __len__(self):
        return sum(last - first + 1 for first, last in self.ordered())

    def __iter__(self):
        for first, last in self.ordered():
            yield from range(first, last + 1)


class Directory:
    """One check of one data directory.

    Memory: for each tile file, its name; for each entry, its id; for each part
    of content, its hash and where it is; of the entries that lack parts, and of
    those that later ones say expired, ranges. Entries, tiles and packs are read
    one at a time.
    """

    def __init__(self, path, key, older=(), witnesses=(), quiet_max=None, beside=(), tsa_roots=None):
        self.path, self.key, self.witnesses, self.quiet_max = path, key, witnesses, quiet_max
        self.older = sorted(older, key=lambda checkpoint: checkpoint.size)
        self.beside = list(beside)  # further keys of the log
        self.tsa_roots = tsa_roots
        self.problems = []  # (place, what): the evidence says no
        self.notes = []  # what a reader should know besides
        self.facts = {}

    def problem(self, place, what):
        self.problems.append((place, what))

    def at(self, *names):
        return os.path.join(self.path, *names)

    def verify(self):
        if not self.read_checkpoint():
            return
        self.list_log()
        self.list_anchors()
        self.read_packs()
        self.read_sealed()
        self.read_log()
        self.check_lacking()
        self.check_sealed()
        self.check_anchors()
        self.close()

    # 1. The signature of the checkpoint.

    def read_checkpoint(self):
        line = read_file(self.at("log.vkey"))
        try:
            if line is None:
                raise Refused("is missing")
            if self.key is None:
                if not line.endswith(b"\n"):
                    raise Refused("is not whole lines")
                self.key, *self.beside = parse_keys(line.decode("utf-8"))
                self.notes.append("the log's key was taken from the log itself: pass --vkey")
            elif line.split(b"\n")[0] != self.key.text.encode() or not line.endswith(b"\n"):
                raise Refused("is not the key that was passed")
            elif self.beside and line.decode("utf-8").split("\n")[1:-1] != [key.text for key in self.beside]:
                raise Refused("is not the key that was passed")
        except (Refused, UnicodeDecodeError) as error:
            self.problem("log.vkey", str(error))
            if self.key is None:
                return False
        data = read_file(self.at("log", "checkpoint"))
        try:
            if data is None:
                raise Refused("is missing")
            self.checkpoint = verify_checkpoint(data, self.key)
            check_beside(data, self.beside, self.notes, True)
            if self.witnesses:
                self.facts["cosignatures"] = cosignatures(data, self.witnesses, self.notes)
        except Refused as error:
            self.problem("log/checkpoint", error.what)
            return False
        self.size = self.checkpoint.size
        self.facts.update(origin=self.checkpoint.origin, size=self.size, root=self.checkpoint.root.hex())
        for older in self.older:
            if older.size > self.size:
                self.problem("log/checkpoint", "has %d entries; the older checkpoint has %d" % (self.size, older.size))
        self.sessions = Sessions(self.problem, self.key.text, self.quiet_max)
        self.custody = Custody(self.problem, self.key.name)
        return True

    # 2. Entries, tiles, root.

    def expected(self, level, index):
        """How many hashes (or entries) a tree of this size has there."""
        total = self.size if level == "entries" else self.size >> (8 * level)
        return max(0, min(WIDTH, total - index * WIDTH))

    def list_log(self):
        """Which widths of which tiles and bundles there are. Whatever else lies
        under log/ does not belong there."""
        self.widths = {}
        beyond = 0
        for path, plain in walk(self.at("log")):
            if path == "checkpoint" and plain:
                continue
            try:
                if not plain:
                    raise Refused("is not a plain file")
                level, index, width = parse_tile_path(path)
                needs = (index * WIDTH + width) << (0 if level == "entries" else 8 * level)
                if needs > U64_MAX:
                    raise Refused("no tree is so large")
            except Refused as error:
                self.problem("log/" + path, error.what)
                continue
            if width > self.expected(level, index):
                beyond += 1
            self.widths.setdefault((level, index), []).append(width)
        if beyond:
            self.notes.append("%d files extend the log beyond its checkpoint; only what it covers was checked" % beyond)

    def compare(self, level, index, known, prefix):
        """Holds every version of a tile or bundle against what it must be:
        `known` hashes or entries, of which prefix(n) gives the first n."""
        widths = self.widths.pop((level, index), [])
        # A partial one may be gone once the full one is there (c2sp.org/tlog-tiles).
        if known not in widths and WIDTH not in widths:
            self.problem("log/" + tile_path(level, index, known), "is missing")
        for width in sorted(widths):
            path = "log/" + tile_path(level, index, width)
            data = read_file(self.at(path)) or b""
            # Where it extends the log, only its beginning is known.
            right = prefix(min(width, known))
            if level != "entries" and len(data) != 32 * width:
                self.problem(path, "has %d bytes, not %d" % (len(data), 32 * width))
            elif not data.startswith(right) or (width <= known and data != right):
                self.problem(path, self.difference(level, index, data, right))

    def difference(self, level, index, data, right):
        if level == "entries":
            return "does not hold the same entries as the others of its place"
        nth = next(n for n in range(len(right) // 32) if data[32 * n : 32 * n + 32] != right[32 * n : 32 * n + 32])
        if level == 0:
            return "hash %d is not that of entry %d" % (nth, index * WIDTH + nth)
        return "hash %d is not that of the tile below it" % nth

    def read_log(self):
        """Reads every bundle, and keeps one unfinished tile on each level."""
        self.rows = []  # of each level, the hashes of the tile that is being filled
        self.filled = []  # of each level, how many tiles are full
        self.ids, self.exchanges, self.kinds = set(), {}, {}
        older = list(self.older)
        while older and older[0].size == 0:
            if older.pop(0).root != EMPTY_ROOT:
                self.problem("log", "does not extend the older checkpoint")
        for index in range((self.size + WIDTH - 1) // WIDTH):
            self.read_bundle(index, older)
            if len(self.problems) > PROBLEMS_MAX:
                self.problem("log", "too much is wrong to go on; the rest was not checked")
                return
        for level, row in enumerate(self.rows):
            if row:
                self.compare_tile(level, row)
        if self.root() != self.checkpoint.root:
            self.problem("log/checkpoint", "the entries do not have the root that it names")
        # What no entry led to: it lies wholly beyond the checkpoint.
        for level, index in self.widths:
            assert self.expected(level, index) == 0

    def read_bundle(self, index, older):
        width = self.expected("entries", index)
        # The one that belongs to this size; if that is gone, the full one.
        best = width if width in self.widths.get(("entries", index), []) else WIDTH
        path = "log/" + tile_path("entries", index, best)
        data = read_file(self.at(path))
        try:
            entries = parse_bundle(data, best)[:width] if data is not None else None
        except Refused as error:
            self.problem(path, error.what)
            self.widths.pop(("entries", index))
            entries = None
        else:
            lengths = [2 + len(entry) for entry in entries or []]
            self.compare("entries", index, width, lambda n: (data or b"")[: sum(lengths[:n])])
        for n in range(width):
            position = index * WIDTH + n
            if entries is None:
                # Keeps the positions of what follows. The tiles will not agree.
                self.push(0, leaf_hash(b""))
            else:
                self.read_entry(position, entries[n], "%s, entry %d" % (path, position))
                self.push(0, leaf_hash(entries[n]))
            while older and older[0].size == position + 1:
                if self.root() != older.pop(0).root:
                    changed = "does not extend the older checkpoint: one of its %d entries was changed"
                    self.problem("log", changed % (position + 1))

            if position + 1 in self.anchored:
                self.anchored[position + 1] = (self.root(), self.newest)

    def push(self, level, value):
        if level == len(self.rows):
            self.rows.append([])
            self.filled.append(0)
        self.rows[level].append(value)
        if len(self.rows[level]) == WIDTH:
            row = self.rows[level]
            self.compare_tile(level, row)
            self.rows[level] = []
            self.filled[level] += 1
            self.push(level + 1, tree_hash(row))

    def compare_tile(self, level, row):
        self.compare(level, self.filled[level], len(row), lambda n: b"".join(row[:n]))

    def root(self):
        """Of everything read so far: the unfinished tiles, the lowest being
        the right edge of the next."""
        edge = []
        for row in self.rows:
            if row or edge:
                edge = [tree_hash(row + edge)]
        return tree_hash(edge)

    # 3. Content.

    def read_packs(self):
        """Where every part is. A part is in the content once."""
        self.packs = []  # the packs' numbers, in order
        self.parts = {}  # hash: (position in self.packs, offset, length)
        self.named = set()
        self.lacking = Ranges()  # entries that name parts that are not there
        self.erased, self.expired, self.expiries = Ranges(), Ranges(), []
        numbers = []
        beyond = 0
        for path, plain in walk(self.at("content")):
            try:
                if not plain:
                    raise Refused("is not a plain file")
                number = parse_index_path(path)
            except Refused as error:
                self.problem("content/" + path, error.what)
                continue
            if number >= self.size:
                beyond += 1
                continue
            numbers.append(number)
        if beyond:
            self.notes.append("%d content packs belong to entries beyond the checkpoint; they were not checked" % beyond)
        self.packs = sorted(numbers)
        for nth, number in enumerate(self.packs):
            place = "content/" + index_path(number)
            count = 0
            try:
                with open(self.at(place), "rb") as file:
                    for digest, offset, part in read_pack(file):
                        count += 1
                        if digest in self.parts:
                            self.problem(place, "part %s is in the content twice" % digest.hex())
                        else:
                            self.parts[digest] = (nth, offset, len(part))
                if count == 0:
                    raise Refused("is empty")
            except Refused as error:
                self.problem(place, error.what)

    def read_sealed(self):
        """Which pieces of sealed originals there are: in packs like those of
        the content, each once."""
        self.sealed = {}  # hash: number of its pack
        self.first_named, self.unsealed = {}, Ranges()  # entries that name pieces that are nowhere
        self.sealed_packs, beyond = [], 0
        for path, plain in walk(self.at("sealed")) if os.path.lexists(self.at("sealed")) else []:
            try:
                if not plain:
                    raise Refused("is not a plain file")
                number = parse_index_path(path)
            except Refused as error:
                self.problem("sealed/" + path, error.what)
                continue
            if number >= self.size:
                beyond += 1
            else:
                self.sealed_packs.append(number)
        if beyond:
            self.notes.append("%d packs of sealed pieces belong to entries beyond the checkpoint; they were not checked" % beyond)
        self.sealed_packs.sort()
        for number in self.sealed_packs:
            place, count = "sealed/" + index_path(number), 0
            try:
                with open(self.at(place), "rb") as file:
                    for digest, _, _ in read_pack(file):
                        count += 1
                        if digest in self.sealed:
                            self.problem(place, "piece %s is there twice" % digest.hex())
                        self.sealed.setdefault(digest, number)
                if count == 0:
                    raise Refused("is empty")
            except Refused as error:
                self.problem(place, error.what)

    def check_lacking(self):
        """Content that is not there had expired, and a sealed piece was erased
        or had expired, if a later entry says so. Which it is that nothing
        excuses, the entries are read again to say."""
        content = self.lacking.without(self.expired)
        sealed = self.unsealed.without(self.erased).without(self.expired)
        self.removed = len(self.lacking) - len(content)
        for position in content:
            for nth, digest in enumerate(self.named_again(position)[0]):
                if self.lacks(position, digest):
                    self.problem("entry %d" % position, "content part %d: %s" % (nth, self.where(digest)))
            if len(self.problems) > PROBLEMS_MAX:
                return self.problem("content", "too much is wrong to go on; the rest was not checked")
        for position in sealed:
            for digest in self.named_again(position)[1]:
                if digest not in self.sealed:
                    self.problem("entry %d" % position, "names the sealed piece %s, which is in no pack" % digest.hex())
            if len(self.problems) > PROBLEMS_MAX:
                return self.problem("sealed", "too much is wrong to go on; the rest was not checked")
        if self.removed:
            few = ", ".join(map(str, self.expiries[:5])) + (" and more" if len(self.expiries) > 5 else "")
            few = "entry %s says" % few if len(self.expiries) == 1 else "entries %s say" % few
            self.notes.append(
                "content of %d entries was removed, as %s (retention); its hashes are still in the tree"
                % (self.removed, few)
            )

    def named_again(self, position):
        """The parts and the sealed pieces that an entry names."""
        index = position // WIDTH
        for width in (self.expected("entries", index), WIDTH):
            data = read_file(self.at("log", tile_path("entries", index, width)))
            if data is not None:
                break
        else:
            raise Environment("%s is not there any more" % tile_path("entries", index, WIDTH))
        entry = parse_entry(parse_bundle(data, width)[position % WIDTH])
        content, sealed = entry.get("content", {}), entry.get("original", {}).get("sealed", [])
        parts = content.get("parts", [])
        if "manifest" in content:
            manifest = parse_manifest(self.read_part(hex_hash(content["manifest"])))
            parts, sealed = manifest["content"], sealed + manifest.get("sealed", [])
        return [hex_hash(part["sha256"]) for part in parts], list(map(hex_hash, sealed))

    def check_sealed(self):
        """A piece belongs to the batch of the entry that is the first to name it."""
        following_of = dict(zip(self.sealed_packs, self.sealed_packs[1:] + [self.size]))
        for digest, number in self.sealed.items():
            place, first, following = "sealed/" + index_path(number), self.first_named.get(digest), following_of[number]
            if first is None:
                self.problem(place, "piece %s is named by no entry" % digest.hex())
            elif not number <= first < following:
                self.problem(place, "piece %s is first named by entry %d, which is in another batch" % (digest.hex(), first))

    def read_part(self, digest):
        nth, offset, length = self.parts[digest]
        with open(self.at("content", index_path(self.packs[nth])), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def lacks(self, position, digest):
        """Whether a part that an entry names is not there for it: in no pack,
        or in a later one than that of the entry's batch, as it is when it was
        stored again after it had been removed."""
        return digest not in self.parts or position < self.packs[self.parts[digest][0]]

    def where(self, digest):
        """What is wrong with the place of a part."""
        if digest not in self.parts:
            return "part %s is in no pack" % digest.hex()
        place = "content/" + index_path(self.packs[self.parts[digest][0]])
        return "part %s is in %s, where it was not first named" % (digest.hex(), place)

    def name_part(self, position, digest, length=None):
        """An entry names a part: it must be in the pack of this entry's batch
        if this is the first entry to name it, else in an earlier one."""
        if self.lacks(position, digest):
            raise Refused(self.where(digest))
        nth, _, there = self.parts[digest]
        if length is not None and length != there:
            raise Refused("part %s has %d bytes, not %d" % (digest.hex(), there, length))
        following = self.packs[nth + 1] if nth + 1 < len(self.packs) else self.size
        if digest not in self.named and position >= following:
            raise Refused(self.where(digest))
        self.named.add(digest)

    def check_content(self, position, entry):
        content, original = entry["content"], entry.get("original", {}).get("parts", [])
        if "omitted" in content:
            return
        parts, sealed = content.get("parts", []), []
        if "manifest" in content:
            digest = hex_hash(content["manifest"])
            self.name_part(position, digest)
            manifest = parse_manifest(self.read_part(digest))
            parts, original, sealed = manifest["content"], manifest.get("original", []), manifest.get("sealed", [])
        digests, lacking = [hex_hash(part["sha256"]) for part in parts], False
        for nth, (part, digest) in enumerate(zip(parts, digests)):
            if self.lacks(position, digest):
                lacking = True
                continue
            try:
                self.name_part(position, digest, part["bytes"])
            except Refused as error:
                raise Refused("content part %d: %s" % (nth, error.what))
        if original and len(original) != len(parts) - 1:
            raise Refused("%d parts have %d commitments" % (len(parts) - 1, len(original)))
        if lacking:
            # Whether it expired, a later entry says.
            self.lacking.add(position, position)
            return sealed
        readers = [functools.partial(self.read_part, digest) for digest in digests[1:]]
        check_body(self.read_part(digests[0]), readers, content["bytes"], hex_hash(content["sha256"]))
        return sealed

    # 4. What the entries say.

    def read_entry(self, position, data, place):
        if position % WIDTH == 0:
            self.newest = ""
        try:
            entry = parse_entry(data)
            self.newest = max(self.newest, entry["time"])
            self.kinds[entry["kind"]] = self.kinds.get(entry["kind"], 0) + 1
            if entry["id"] in self.ids:
                raise Refused("another entry has the id %s" % entry["id"][:40])
            self.ids.add(entry["id"])
            self.sessions.take(position, entry)
            self.custody.take(position, entry)
            self.pair(position, entry)
            if entry["kind"] in ("custody.erase", "custody.expire"):
                said = self.expired if entry["kind"] == "custody.expire" else self.erased
                for first, last in entry["erase"]["entries"]:
                    # It says nothing of what comes after it.
                    if first < position:
                        said.add(first, min(last, position - 1))
                if said is self.expired:
                    self.expiries.append(position)
            pieces = entry.get("original", {}).get("sealed", [])
            if "content" in entry:
                pieces = pieces + (self.check_content(position, entry) or [])
            for digest in map(hex_hash, pieces):
                if digest in self.sealed:
                    self.first_named.setdefault(digest, position)
                else:
                    self.unsealed.add(position, position)
        except Refused as error:
            self.problem(place, error.what)

    def pair(self, position, entry):
        exchange = entry.get("exchange")
        if entry["kind"] == "exchange.request":
            self.exchanges[exchange] = "open"  # its id is new, so the exchange is
        elif entry["kind"] == "exchange.response":
            state = self.exchanges.get(exchange)
            if state is None:
                raise Refused("response without a request before it")
            if state == "closed":
                raise Refused("second response of one request")
            self.exchanges[exchange] = "closed"

    # 5. Anchors: what others say of when the log had which root.

    def list_anchors(self):
        self.anchors = []  # (size, name)
        self.anchored = {0: (EMPTY_ROOT, "")}  # size: (root, newest time in its last bundle)
        self.newest = ""
        if not os.path.isdir(self.at("anchors")):
            return
        for name in sorted(os.listdir(self.at("anchors"))):
            found = ANCHOR_NAME.fullmatch(name)
            if not found:
                self.notes.append("anchors/%s is called as no anchor is, and was not looked at" % name)
                continue
            self.anchors.append((int(found[1]), name))
            self.anchored.setdefault(int(found[1]), None)

    def check_anchors(self):
        self.facts["anchors"] = {}
        skipped = 0
        for size, name in sorted(self.anchors):
            place = "anchors/" + name
            if size > self.size:
                self.problem(place, "is about %d entries; the log has %d" % (size, self.size))
            elif not name.endswith(".tsr") or self.tsa_roots is None:
                skipped += 1
            else:
                root, newest = self.anchored[size]
                text = "%s\n%d\n%s\n" % (self.checkpoint.origin, size, base64.b64encode(root).decode())
                try:
                    time, accuracy = check_timestamp(self.at("anchors", name), text.encode(), self.tsa_roots)
                    if newest and parse_time(newest) > time + accuracy + CLOCKS_APART:
                        raise Refused("is older than an entry that it is about: back-dated, or the log's clock was ahead")
                    self.facts["anchors"][place] = "no later than %s" % (time + accuracy).isoformat()
                except Refused as error:
                    self.problem(place, error.what)
        if skipped:
            self.notes.append("%d anchors were not checked (tokens need --tsa-roots; .ots files, OpenTimestamps' own client)" % skipped)

    def close(self):
        for digest in self.parts:
            if digest not in self.named:
                nth, offset, _ = self.parts[digest]
                place = "content/" + index_path(self.packs[nth])
                self.problem(place, "part at byte %d is named by no entry" % (offset - 36))
        known = {"log.vkey", "log", "content", "sealed", "anchors", "wal", "index", "search"}
        for name in sorted(os.listdir(self.path)):
            if name not in known:
                self.notes.append("%s is not part of the evidence and was not looked at" % name)
        self.facts.update(
            kinds=self.kinds,
            packs=len(self.packs),
            parts=len(self.parts),
            sealed=len(self.sealed),
            erased=len(self.erased),
            expired=len(self.expired),
            removed=self.removed,
            exchanges=len(self.exchanges),
            open_exchanges=sum(state == "open" for state in self.exchanges.values()),
        )
        open_sessions = self.sessions.finish()
        self.facts.update(
            sessions=len(self.sessions.sessions),
            numbered=self.sessions.numbered,
            unnumbered=self.sessions.unnumbered,
            lost=self.sessions.lost,
            quiet_seconds_max=int(self.sessions.quiet),
            acts=self.custody.acts,
            keys=len(self.custody.keys),
            holds=len(self.custody.holds),
        )
        for gap in self.sessions.gaps[:100]:
            self.notes.append("entry %(entry)d declares that %(count)d were not recorded: %(reason)s" % gap)
        if self.sessions.unnumbered:
            self.notes.append(
                "%d entries have no number: whether one among them is missing does not show" % self.sessions.unnumbered
            )
        if open_sessions:
            self.notes.append("the last session has not ended: whether anything came after it does not show")
        if self.facts["open_exchanges"]:
            self.notes.append("%d exchanges have no response yet" % self.facts["open_exchanges"])


# --- The command ---------------------------------------------------------------------


# --- Bundles: docs/format.md, "The bundle" -----------------------------------------

BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PAGE_OPEN = b'<script type="application/zip" id="bundle">'
BAG_MANIFEST, BAG_TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, CONTENTS_BYTES_MAX = 2 * 2**30, 1000000, 32 * 2**20

EXCHANGE = record({"exchange": a_text, "request": unsigned(64), "response": lambda v: v is None or unsigned(64)(v)}, {})
CONTENTS = record(
    {
        "v": unsigned(32),
        "selection": map_to(a_text),
        "exchanges": list_of(EXCHANGE),
        "custody": list_of(unsigned(64)),
        "older": list_of(unsigned(64)),
        "anchors": list_of(a_text),
    },
    {},
)
COMPLETENESS = record(
    {
        "v": unsigned(32),
        "size": unsigned(64),
        "unnumbered": unsigned(64),
        "sessions": list_of(
            record(
                {
                    "producer": a_text,
                    "first": unsigned(64),
                    "last": unsigned(64),
                    "entries": unsigned(64),
                    "number_max": unsigned(64),
                    "stopped": is_bool,
                },
                {},
            )
        ),
        "gaps": list_of(record({"entry": unsigned(64), "reason": a_text, "count": unsigned(64)}, {})),
        "wrong": list_of(a_text),
        "exchanges": unsigned(64),
    },
    {},
)
# What only that belongs to which something else names.
NAMED = tuple("data/%s/" % name for name in "entries proofs receipts content checkpoints trees anchors sealed originals".split())


def unpack(path):
    """The files of a bundle by their paths below its directory."""
    files, left = {}, BUNDLE_BYTES_MAX
    if os.path.isdir(path):
        for directory, _, names in os.walk(path, onerror=walk_failed):
            for name in names:
                full = os.path.join(directory, name)
                if not stat.S_ISREG(os.lstat(full).st_mode):
                    raise Refused("%r is no plain file" % name)
                with open(full, "rb") as file:
                    data = file.read(left + 1)
                left -= len(data)
                if left < 0 or len(files) == BUNDLE_FILES_MAX:
                    raise Refused("it is larger than a bundle may be")
                files[os.path.relpath(full, path).replace(os.sep, "/")] = data
        return files
    return unzip(path)


def unzip(path):
    """The files in a zip file by their paths below its one directory."""
    files, left, tops = {}, BUNDLE_BYTES_MAX, set()
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                top, slash, name = member.filename.partition("/")
                tops.add(top)
                if not slash or any(step in ("", ".", "..") for step in member.filename.split("/")) or len(tops) > 1:
                    raise Refused("it has a file outside of its directory")
                with archive.open(member) as file:
                    data = file.read(left + 1)
                left -= len(data)
                if left < 0 or len(files) == BUNDLE_FILES_MAX:
                    raise Refused("it is larger than a bundle may be")
                if name in files:
                    raise Refused("it has the file %r twice" % name)
                files[name] = data
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error, ValueError):
        raise Refused("it is no zip file, or a damaged one")
    return files


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


class Bundle:
    """Entries with their proofs against one checkpoint, their content, what
    others say of that checkpoint, and the record of the export, which commits
    to the list of all that."""

    def __init__(self, files, keys, policy=None, tsa_roots=None):
        self.files, self.keys, self.policy, self.tsa_roots = files, keys, policy, tsa_roots
        self.problems, self.facts, self.expected = [], {}, set()
        self.proved, self.notes, self.entries, self.receipts = [], [], {}, []
        self.lacking, self.expired = {}, {}

    def problem(self, name, what):
        self.problems.append((name, what))

    def file(self, name):
        if name not in self.files:
            raise Missing(name)
        return self.files[name]

    def named(self, name):
        """A file that must be there because something names it."""
        self.expected.add(name)
        return self.file(name)

    def step(self, check, *arguments):
        """Runs one check; whatever it proves, it says only if nothing in it was wrong."""
        before = len(self.problems)
        try:
            said = check(*arguments)
        except Missing as error:
            return self.problem(error.what, "is missing")
        if said and len(self.problems) == before:
            self.proved += [said] if isinstance(said, str) else said

    def verify(self):
        self.step(self.manifests)
        self.step(self.payload)

    def manifests(self):
        """Each file is in the one manifest in which it must be, and is what it says."""
        if self.files.get("bagit.txt") != BAGIT:
            self.problem("bagit.txt", "is missing or malformed")
        for manifest, is_payload in ((BAG_MANIFEST, True), (BAG_TAG_MANIFEST, False)):
            mine = {name for name in self.files if name.startswith("data/") == is_payload and name != BAG_TAG_MANIFEST}
            listed = {}
            try:
                lines = self.file(manifest).decode("utf-8").split("\n")
                if lines.pop() != "":
                    raise Refused("does not end in a line feed")
                for line in lines:
                    digest, gap, name = line.partition("  ")
                    if not gap or name in listed or name.startswith("data/") != is_payload or name == BAG_TAG_MANIFEST:
                        raise Refused("is malformed")
                    listed[name] = hex_hash(digest)
            except (UnicodeDecodeError, Refused):
                self.problem(manifest, "is malformed")
                continue
            for name, digest in listed.items():
                if name not in self.files:
                    self.problem(name, "is missing")
                elif sha256(self.files[name]) != digest:
                    self.problem(name, "is not the file that the manifest lists")
            for name in sorted(mine - set(listed)):
                self.problem(name, "is in no manifest")
        return "%d files are those that the manifests list, and there are no others" % len(self.files)

    def payload(self):
        if self.head_of_log() is None:
            return
        name = "data/bundle.json"
        try:
            if len(self.file(name)) >= CONTENTS_BYTES_MAX:
                raise Refused("is malformed")
            self.contents = contents = parse_json(self.file(name))
            if not CONTENTS(contents) or contents["v"] != 1 or len(contents) != 6:
                raise Refused("is malformed")
            if any(len(exchange) != 3 for exchange in contents["exchanges"]):
                raise Refused("is malformed")
        except Missing:
            raise
        except Refused as error:
            return self.problem(name, error.what)
        self.before = len(self.problems)
        for check in (self.exchanges, self.originals, self.custody, self.check_expired, self.rules, self.check_receipts, self.graph):
            self.step(check)
        for check in (self.cosigned, self.older, self.anchors, self.completeness):
            self.step(check)
        for path in sorted(self.files):
            if path.startswith(NAMED) and path not in self.expected:
                self.problem(path, "belongs to nothing that the bundle is of")
        self.step(self.export)
        self.facts.update(
            selection=contents["selection"],
            exchanges=len(contents["exchanges"]),
            custody=len(contents["custody"]),
            expired=len(self.expired),
        )
        self.notes.append("whether the log has more that was asked for, a bundle cannot show: ask for the log")

    def head_of_log(self):
        name = "data/log/log.vkey"
        try:
            own = parse_keys(self.file(name).decode("utf-8"))
        except Missing:
            raise
        except (UnicodeDecodeError, Refused):
            return self.problem(name, "is malformed")
        if not self.keys and self.policy is not None:
            # A policy from elsewhere may know the log.
            self.keys = [key for key in self.policy.logs if key.text in [known.text for known in own]]
        if not self.keys:
            self.keys = own
            self.notes.append("the key is the bundle's own: all that this says is that the bundle agrees with itself")
        else:
            if [key.text for key in self.keys] != [key.text for key in own[: max(1, len(self.keys))]]:
                self.problem(name, "is not the key that was given")
            elif 1 < len(self.keys) < len(own):
                self.problem(name, "is not the key that was given")
            else:
                self.proved.append("the log's key is the one that was given, %s" % self.keys[0].name)
        self.key, *beside = self.keys
        self.note = self.file("data/log/checkpoint")
        try:
            self.head = head = verify_checkpoint(self.note, self.key)
            check_beside(self.note, beside, self.notes, False)
        except Refused as error:
            return self.problem("data/log/checkpoint", error.what)
        self.facts.update(origin=head.origin, size=head.size, root=head.root.hex())
        self.proved.append(
            "the tree head, over %d entries with the root %s, is signed by that key" % (head.size, head.root.hex())
        )
        return head

    def exchanges(self):
        contents, name = self.contents, "data/bundle.json"
        for exchange in contents["exchanges"]:
            request, response = exchange["request"], exchange["response"]
            for index, kind in ((request, "exchange.request"), (response, "exchange.response")):
                if index is not None:
                    self.one(index, kind, exchange["exchange"])
            if response is not None and response < request:
                self.problem(name, "has a response that stands before its request")
        opened = sum(exchange["response"] is None for exchange in contents["exchanges"])
        self.parts = sum(path.startswith("data/content/") for path in self.expected)
        said = [
            "%d exchanges, %d of them without an answer, are in the log as they are here: each entry, byte for byte, at its "
            "place" % (len(contents["exchanges"]), opened)
        ]
        if not self.lacking:
            said.append("%d parts of content make the bodies that the entries commit to" % self.parts)
        return said

    def check_expired(self):
        """Content that is not there had expired, as a later entry says, or is missing."""
        if not self.lacking:
            return None
        said = [(at, entry["erase"]["entries"]) for at, entry in self.entries.items() if entry["kind"] == "custody.expire"]
        said.sort()
        rest = sorted(self.lacking)
        for at, ranges in said:
            for first, last in ranges:
                found = slice(bisect.bisect_left(rest, first), bisect.bisect_right(rest, min(last, at - 1)))
                self.expired.update(dict.fromkeys(rest[found], at))
                del rest[found]
        for index in rest:
            self.problems += [(name, "is missing") for name in self.lacking[index]]
        if len(self.problems) > self.before:
            return None
        proved = [
            "%d parts of content have the hashes that the entries name, and make the bodies that these commit to, but for what "
            "had expired" % self.parts
        ]
        ids_of = {}
        for one in self.contents["exchanges"]:
            for at in sorted({self.expired.get(one["request"]), self.expired.get(one["response"])} - {None}):
                ids_of.setdefault(at, []).append(one["exchange"])
        for at, ids in sorted(ids_of.items()):
            proved.append(
                "content of %s %s is not here: entry %d of the log says that it had expired; its hashes are in the entries"
                % ("exchange" if len(ids) == 1 else "exchanges", ", ".join(ids), at)
            )
        return proved

    def originals(self):
        """Sealed pieces are those that the entries name; what was opened of them is what the entries commit to."""
        pieces, opened = 0, 0
        indices = [n for one in self.contents["exchanges"] for n in (one["request"], one["response"]) if n is not None]
        for index in indices:
            entry = self.entries.get(index, {})
            original = entry.get("original")
            if original is None:
                continue
            named = list(original.get("sealed", []))
            manifest = entry.get("content", {}).get("manifest")
            if manifest is not None and "data/content/" + manifest in self.files:
                # One that cannot be read was reported with its entry.
                with contextlib.suppress(Refused):
                    named += parse_manifest(self.files["data/content/" + manifest]).get("sealed", [])
            for piece in named:
                name = "data/sealed/%s.age" % piece
                # The same piece may be of several entries.
                if name not in self.files or name in self.expected:
                    continue
                self.expected.add(name)
                pieces += 1
                # What the log has is what comes after an age file's header, which ends with the line of its MAC.
                header = re.search(rb"\n--- [^\n]*\n", self.files[name])
                if header is None or sha256(self.files[name][header.end() :]) != hex_hash(piece):
                    self.problem(name, "is not the sealed piece that an entry names")
            name = "data/originals/%d.bin" % index
            if name in self.files:
                opened += 1
                self.expected.add(name)
                salt_name = "data/originals/%d.salt" % index
                salt = self.named(salt_name)
                if not re.fullmatch(rb"[0-9a-f]{64}\n", salt):
                    self.problem(salt_name, "is malformed")
                elif sha256(bytes.fromhex(salt.decode()) + self.files[name]) != hex_hash(original["commitment"]):
                    self.problem(name, "is not what the entry commits to with the salt beside it")
        said = []
        if pieces:
            said.append("%d sealed pieces are those that the entries name; an officer's key opens them" % pieces)
        if opened:
            said.append("%d originals are, byte for byte, what the entries commit to" % opened)
        else:
            self.notes.append("the exact bytes are not in the bundle: whoever has them checks them with --exact and their salt")
        return said

    def rules(self):
        """Keys, roles and approvals."""
        places = re.compile(r"entry (\d+)")
        custody = Custody(
            lambda place, what: self.problem("data/entries/%s.json" % places.fullmatch(place)[1], what), self.key.name
        )
        for index in sorted(self.entries):
            custody.take(index, self.entries[index])
        return (
            "every key that was used was in force, and of a role that may; every approval was signed, in time, for exactly "
            "the act that used it"
        )

    def custody(self):
        lines = b""
        for index in self.contents["custody"]:
            self.one(index, ("custody.", "case."), None)
            data = self.files.get("data/entries/%d.json" % index, b"")
            lines += b'{"index":%d,"entry":%s}\n' % (index, data)
        if self.file("data/custody.jsonl") != lines:
            self.problem("data/custody.jsonl", "does not say what the entries say: its lines are not the custody entries")
        return "%d custody entries are in the log, and custody.jsonl has them all" % len(self.contents["custody"])

    def check_receipts(self):
        """Each entry's COSE receipt. Asking openssl takes its time, so several at once."""

        def check(item):
            index, data, receipt = item
            try:
                check_receipt(receipt, index, data, self.head, self.key)
            except Refused as error:
                return "data/receipts/%d.cbor" % index, error.what
            return None

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            self.problems += [problem for problem in pool.map(check, self.receipts) if problem]
        return "%d COSE receipts prove the same" % len(self.receipts)

    def graph(self):
        """The CASE/UCO graph says of custody what the entries say."""
        name, tool = "data/custody.case.jsonld", "tabellion"
        try:
            nodes = parse_json(self.file(name)).get("@graph")
            files, names, acts, exhibits = {}, {}, [], []
            for node in nodes:
                kind = node["@type"]
                if kind == "uco-observable:File":
                    facets = {member: value for facet in node["uco-core:hasFacet"] for member, value in facet.items()}
                    path = facets["uco-observable:filePath"]
                    digest = facets["uco-observable:hash"]["uco-types:hashValue"]["@value"]
                    if path not in self.files or sha256(self.files[path]).hex() != digest:
                        raise Refused("it has another hash for a file than the file has")
                    if node["@id"] in files:
                        raise Refused("it has a node twice")
                    files[node["@id"]] = path
                elif kind in ("uco-identity:Identity", "uco-tool:Tool"):
                    if node["@id"] in names:
                        raise Refused("it has a node twice")
                    names[node["@id"]] = node["uco-core:name"]
                elif kind == "case-investigation:InvestigativeAction":
                    acts.append(node)
                elif kind == "case-investigation:ProvenanceRecord":
                    exhibits.append(node)
                else:
                    raise Refused("it has a node of another kind")
            if len(acts) != len(self.contents["custody"]):
                raise Refused("its acts are not as many as the custody entries")
            for act, index in zip(acts, self.contents["custody"]):
                entry = self.entries.get(index)
                if entry is None:
                    continue
                said = [act["uco-core:name"], act["uco-action:startTime"]["@value"], act.get("uco-core:description")]
                said += [names[act["uco-action:performer"]["@id"]]]
                said += [files[one["@id"]] for one in act["uco-action:object"]]
                told = [entry["kind"], entry["time"], entry.get("why"), entry.get("actor", tool)]
                if said != told + ["data/entries/%d.json" % index]:
                    raise Refused("an act is not what its entry says")
            indices = [n for one in self.contents["exchanges"] for n in (one["request"], one["response"]) if n is not None]
            shown = [[files[one["@id"]] for one in exhibit["uco-core:object"]] for exhibit in exhibits]
            if shown != ([["data/entries/%d.json" % index for index in indices]] if indices else []):
                raise Refused("its exhibits are not the exchanges' entries")
        except Missing:
            raise
        except (KeyError, TypeError, AttributeError):
            return self.problem(name, "does not say what the entries say: it lacks what a node must have")
        except Refused as error:
            return self.problem(name, "does not say what the entries say: %s" % error.what)
        return "the CASE/UCO graph says of custody what the entries say"

    def cosigned(self):
        """Those have cosigned whom the policy asks for: the one that was given, or the bundle's own."""
        try:
            own = Policy(self.file("data/log/policy"))
        except Missing:
            raise
        except Refused as error:
            return self.problem("data/log/policy", error.what)
        policy, whose = (own, "the bundle's own policy") if self.policy is None else (self.policy, "the policy that was given")
        for one in (own, policy):
            if one.logs and self.key.text not in [key.text for key in one.logs]:
                return self.problem("data/log/policy", "is not a policy for this log")
        try:
            witnesses, enough = policy.decide(self.note, self.notes)
        except Refused as error:
            return self.problem("data/log/checkpoint", error.what)
        if not enough:
            return self.problem("data/log/checkpoint", "does not have the cosignatures that the policy asks for")
        if policy.quorum is None:
            return self.notes.append(
                "%s asks for no cosignature, so that there is no other tree under this key rests on the log's word" % whose
            )
        by = ", ".join("%s at %s" % (name, utc(time)) for name, time in witnesses)
        return "the tree head is cosigned by %s, which is what %s asks for" % (by, whose)

    def tree_of(self, size):
        """The root that the tree had at a size, once it is proved that the bundle's tree extends it."""
        name = "data/trees/%d" % size
        data = self.named(name)
        try:
            lines = data.decode("utf-8").split("\n")
            if lines.pop() != "" or not 1 <= len(lines) <= HASHES_MAX + 1:
                raise Refused("is malformed")
            root, *hashes = [base64_hash(line) for line in lines]
            verify_consistency(size, root, self.head.size, self.head.root, hashes)
        except UnicodeDecodeError:
            self.problem(name, "is malformed")
        except Refused as error:
            self.problem(name, error.what)
        else:
            return root
        return None

    def older(self):
        said = []
        for size in self.contents["older"]:
            name = "data/checkpoints/%d" % size
            if name in self.expected:
                self.problem(name, "is there twice")
                continue
            data, root = self.named(name), self.tree_of(size)
            try:
                older = verify_checkpoint(data, self.key)
                if older.size != size or root is not None and older.root != root:
                    raise Refused("is not the checkpoint of that size of this log")
                # Of the empty tree, and of the same one, there is none.
                if 0 < size < self.head.size:
                    name = "data/checkpoints/%d.cbor" % size
                    check_older_receipt(self.named(name), older, self.head, self.key)
            except Missing:
                raise
            except Refused as error:
                self.problem(name, error.what)
            said.append("the log still has all %d entries that it had at an older checkpoint, unchanged" % size)
        return said

    def anchors(self):
        if not self.contents["anchors"]:
            return self.notes.append("there is no anchor, so the times are those of the log's own clock, and of the witnesses")
        own, said, hashes = "data/anchors/roots.pem", [], {}
        if own in self.files:
            self.expected.add(own)
        for file in self.contents["anchors"]:
            name, found = "data/anchors/" + file, ANCHOR_NAME.fullmatch(file)
            if not found or name in self.expected:
                self.problem(name, "is there twice, or called as no anchor is")
                continue
            size, data = int(found[1]), self.named(name)
            root = self.tree_of(size)
            if root is None:
                continue
            if found[3] != ".tsr":
                self.notes.append("%s was not checked: OpenTimestamps' own client does that" % name)
                continue
            if self.tsa_roots is None and own not in self.files:
                self.notes.append("%s: no roots were given, so nobody knows whose word it is" % name)
                continue
            whose = "roots that were given" if self.tsa_roots else "the bundle's own roots"
            text = "%s\n%d\n%s\n" % (self.head.origin, size, base64.b64encode(root).decode())
            try:
                with tempfile.TemporaryDirectory() as folder:
                    paths = [os.path.join(folder, "token"), os.path.join(folder, "roots")]
                    for path, content in zip(paths, (data, self.files.get(own, b""))):
                        with open(path, "wb") as f:
                            f.write(content)
                    time, accuracy = check_timestamp(paths[0], text.encode(), self.tsa_roots or paths[1])
                before = [entry["time"] for index, entry in self.entries.items() if index < size]
                if before and parse_time(max(before)) > time + accuracy + CLOCKS_APART:
                    raise Refused("is older than an entry that it is about: back-dated, or the log's clock was ahead")
            except Refused as error:
                self.problem(name, error.what)
                continue
            latest = (time + accuracy).isoformat()
            said.append("the first %d entries existed no later than %s, by %s under %s" % (size, latest, name, whose))
            hashes[sha256(data).hex()] = (name, (time - accuracy).isoformat())
        for index, entry in sorted(self.entries.items()):
            name, earliest = hashes.get(entry.get("tags", {}).get("sha256"), (None, None))
            if name and entry["kind"] == "custody.anchor":
                said.append("entries from %d on took their places not before %s (%s)" % (index, earliest, name))
        return said

    def completeness(self):
        """The exporter's report on the numbers of the whole log accounts for every entry of the signed tree, and has
        every entry of the bundle where it stands."""
        name = "data/completeness.json"
        try:
            report = parse_json(self.file(name))
            if not COMPLETENESS(report) or report["v"] != 1:
                raise Refused("is malformed")
            sessions = {session["producer"]: session for session in report["sessions"]}
            if report["size"] != self.head.size:
                raise Refused("speaks of another number of entries than the log has")
            counted = report["unnumbered"] + sum(session["entries"] for session in report["sessions"])
            if counted != self.head.size or len(sessions) != len(report["sessions"]):
                raise Refused("does not account for every entry of the log")
            if not report["wrong"] and any(one["number_max"] + 1 != one["entries"] for one in sessions.values()):
                raise Refused("says that nothing is missing, and its numbers say otherwise")
            for index, entry in self.entries.items():
                if "producer" not in entry:
                    continue
                one = sessions.get(entry["producer"])
                if (
                    one is None
                    or not one["first"] <= index <= one["last"]
                    or entry["seq"] > one["number_max"]
                    or entry["kind"] == "custody.start" and one["first"] != index
                    or entry["kind"] == "custody.stop" and not one["stopped"]
                ):
                    raise Refused("does not have the session of entry %d, or not where the entry stands" % index)
            told = [(index, e["gap"]["count"]) for index, e in sorted(self.entries.items()) if e["kind"] == "custody.gap"]
            if told != [(gap["entry"], gap["count"]) for gap in report["gaps"]]:
                raise Refused("does not list the losses that the custody entries declare")
        except Missing:
            raise
        except Refused as error:
            return self.problem(name, error.what)
        lost = sum(gap["count"] for gap in report["gaps"])
        if report["unnumbered"] or report["wrong"] or report["gaps"]:
            return self.notes.append(
                "the exporter's report accounts for all %d entries of the log, and says that it is not complete: %d entries "
                "without a number, %d exchanges or answers that the log says were not recorded, %d faults of the numbers"
                % (self.head.size, report["unnumbered"], lost, len(report["wrong"]))
            )
        return (
            "the exporter's report accounts for all %d entries of the log, %d exchanges among them: %d sessions, whose "
            "numbers have no gap, and no declared loss" % (self.head.size, report["exchanges"], len(sessions))
        )

    def one(self, index, kind, exchange):
        """An entry, its proofs, and the content that it names."""
        name, proof_name = "data/entries/%d.json" % index, "data/proofs/%d.tlog-proof" % index
        if name in self.expected:
            return self.problem(name, "is there twice")
        self.expected.update((name, proof_name))
        try:
            data, proof_data = self.file(name), self.file(proof_name)
            # The only entry of a log has none.
            if self.head.size > 1:
                self.receipts.append((index, data, self.named("data/receipts/%d.cbor" % index)))
            try:
                proof = Proof(proof_data)
                if proof.index != index:
                    raise Refused("is the proof of another entry")
                if proof.checkpoint != self.note:
                    raise Refused("leads to another checkpoint than the bundle's")
                verify_inclusion(index, self.head.size, leaf_hash(data), proof.hashes, self.head.root)
            except Refused as error:
                self.problem(proof_name, error.what)
            entry = parse_entry(data)
            if not entry["kind"].startswith(kind) or exchange is not None and entry.get("exchange") != exchange:
                raise Refused("is not the entry that the bundle says")
            self.entries[index] = entry
            if exchange is not None and "content" in entry and "omitted" not in entry["content"]:
                self.content(index, entry["content"])
        except Missing as error:
            self.problem(error.what, "is missing")
        except Refused as error:
            self.problem(name, error.what)

    def content(self, index, content):
        parts, lacking = content.get("parts"), []
        if "manifest" in content:
            parts = parse_manifest(self.part(content["manifest"]))["content"]
        for part in parts:
            if "data/content/" + part["sha256"] not in self.files:
                lacking.append("data/content/" + part["sha256"])
            elif len(self.part(part["sha256"])) != part["bytes"]:
                raise Refused("names a part with another length than it has")
        if lacking:
            self.lacking[index] = lacking
            return
        frame, rest = self.part(parts[0]["sha256"]), parts[1:]
        fetch = [functools.partial(self.part, part["sha256"]) for part in rest]
        check_body(frame, fetch, content["bytes"], hex_hash(content["sha256"]))

    def part(self, digest):
        name = "data/content/" + digest
        self.expected.add(name)
        data = self.file(name)
        if sha256(data) != hex_hash(digest):
            raise Refused("names part %s, which does not have its hash" % digest)
        return data

    def export(self):
        """The record of the export is in the log, the log is the bundle's, and
        it commits to this payload."""
        name = "export/entry.json"
        data, proof_data = self.file(name), self.file("export/entry.tlog-proof")
        consistency = self.file("export/consistency")
        try:
            later = Proof(proof_data).verify(data, self.key)
        except Refused as error:
            return self.problem("export/entry.tlog-proof", error.what)
        try:
            lines = consistency.decode("utf-8").split("\n")
            if lines.pop() != "":
                raise Refused("is malformed")
            hashes = [base64_hash(line) for line in lines]
            verify_consistency(self.head.size, self.head.root, later.size, later.root, hashes)
        except UnicodeDecodeError:
            self.problem("export/consistency", "is malformed")
        except Refused as error:
            self.problem("export/consistency", error.what)
        try:
            entry = parse_entry(data)
            export = entry.get("export")
            if entry["kind"] != "custody.export" or not isinstance(export, dict):
                raise Refused("is no record of an export")
            if export.get("manifest") != sha256(self.file(BAG_MANIFEST)).hex():
                raise Refused("commits to another payload than this one")
        except Refused as error:
            return self.problem(name, error.what)
        said = self.page(export.get("page"))
        self.facts["exported"] = {member: entry[member] for member in ("time", "actor", "why") if member in entry}
        record = "the export is on the record: entry %d of the log, of %s, commits to this payload"
        return [record % (Proof(proof_data).index, entry["time"])] + said

    def page(self, named):
        """The page is the one that the export's record names, by its hash without the copy in it; and the copy, a zip
        file in base64, has this payload. (What the page's program does, its sources say.)"""
        name = "index.html"
        if named is None and name not in self.files:
            return []
        try:
            if not a_hash(named):
                raise Refused("is not the page that the record of the export names")
            before, opened, rest = self.file(name).partition(PAGE_OPEN)
            copy, closed, after = rest.partition(b"</script>")
            if not opened or not closed or PAGE_OPEN in after:
                raise Refused("is malformed")
            if sha256(before + opened + closed + after).hex() != named:
                raise Refused("is not the page that the record of the export names")
            if not copy:
                self.notes.append("the bundle is too large for its page, which has no copy of it")
                return []
            try:
                copied = unzip(io.BytesIO(unbase64(copy.decode("ascii"))))
            except (UnicodeDecodeError, Refused):
                raise Refused("is malformed")
            kept = ("data/", "export/")
            own = {n: data for n, data in self.files.items() if n.startswith(kept) or n in (BAG_MANIFEST, "bagit.txt")}
            if copied != own:
                raise Refused("has a copy of another payload than the bundle's")
        except Missing:
            raise
        except Refused as error:
            self.problem(name, error.what)
            return []
        return ["index.html is the page that the record of the export names, and shows this payload"]


def is_bundle(path):
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, "bagit.txt"))
    return os.path.isfile(path)


def run_bundle(arguments):
    keys = keys_argument(arguments.vkey) if arguments.vkey else []
    policy = None
    if arguments.policy:
        try:
            policy = Policy(input_file(arguments.policy))
        except Refused as error:
            raise Usage("%s: %s" % (arguments.policy, error.what))
    check_roots(arguments)
    try:
        bundle = Bundle(unpack(arguments.directory), keys, policy, arguments.tsa_roots)
    except Refused as error:
        return report(arguments, [(arguments.directory, error.what)], [], {})
    bundle.verify()
    return report(arguments, bundle.problems, bundle.notes, bundle.facts, bundle.proved)


def check_roots(arguments):
    if arguments.tsa_roots and not os.path.isfile(arguments.tsa_roots):
        raise Usage("%s: no such file" % arguments.tsa_roots)


def keys_argument(value):
    """Keys of one signer, or a file with them."""
    text = value
    if os.path.isfile(value):
        with open(value, encoding="utf-8") as f:
            text = f.read()
    try:
        return parse_keys(text.strip("\n"))
    except Refused as error:
        raise Usage("%s: %s" % (value, error.what))


def input_file(path):
    data = read_file(path)
    if data is None:
        raise Usage("%s: no such file" % path)
    return data


def report(arguments, problems, notes, facts, proved=()):
    """Prints the result; gives the exit status."""
    if arguments.json:
        out = {"verified": not problems, **facts}
        out["problems"] = [{"place": place, "what": what} for place, what in problems]
        out["notes"] = notes
        if proved:
            out["proved"] = list(proved)
        print(json.dumps(out))
    else:
        for name, value in facts.items():
            if isinstance(value, dict):
                value = ", ".join("%s %s" % pair for pair in sorted(value.items())) or "none"
            print("%-16s %s" % (name.replace("_", " "), value))
        for line in proved:
            print("proved: %s" % line)
        for note in notes:
            print("note: %s" % note)
        for place, what in problems[:100]:
            print("REFUSED: %s: %s" % (place, what))
        if len(problems) > 100:
            print("REFUSED: and %d more" % (len(problems) - 100))
        print("verified" if not problems else "NOT VERIFIED")
    return 1 if problems else 0


def run_directory(arguments):
    if is_bundle(arguments.directory):
        return run_bundle(arguments)
    if not os.path.isdir(arguments.directory):
        raise Usage("%s: no such directory" % arguments.directory)
    key, *beside = keys_argument(arguments.vkey) if arguments.vkey else [None]
    older = []
    for path in arguments.checkpoint:
        if key is None:
            raise Usage("--checkpoint needs --vkey")
        try:
            data = input_file(path)
            # A proof file holds a checkpoint too.
            older.append(verify_checkpoint(Proof(data).checkpoint if data.startswith(PROOF_MAGIC) else data, key))
        except Refused as error:
            return report(arguments, [(path, error.what)], [], {})
    check_roots(arguments)
    witnesses = [key for witness in arguments.witness for key in keys_argument(witness)]
    check = Directory(
        arguments.directory, key, older, witnesses, arguments.max_quiet, beside, arguments.tsa_roots
    )
    check.verify()
    return report(arguments, check.problems, check.notes, check.facts)


def run_proof(arguments):
    facts, notes, data = check_proof(arguments)
    return report(arguments, facts, notes, {}) if data is None else report(arguments, [], notes, facts)


def check_proof(arguments):
    """What a proof shows, notes, and the entry in it; or what is wrong with it,
    notes, and None."""
    if not arguments.vkey:
        raise Usage("--proof needs --vkey")
    (key, *beside), data, facts, notes = keys_argument(arguments.vkey), input_file(arguments.proof), {}, []
    witnesses = [key for witness in arguments.witness for key in keys_argument(witness)]
    try:
        proof = Proof(data)
        if proof.extra is None:
            raise Refused("holds no entry")
        checkpoint = proof.verify(proof.extra, key)
        facts.update(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(), index=proof.index)
        check_beside(proof.checkpoint, beside, notes, False)
        if witnesses:
            facts["cosignatures"] = cosignatures(proof.checkpoint, witnesses, notes)
        entry = parse_entry(proof.extra)
        facts.update({name: entry[name] for name in ("kind", "id", "exchange", "time") if name in entry})
    except Refused as error:
        return [(arguments.proof, error.what)], notes, None
    return facts, notes, proof.extra


def commitment_of(data, part):
    """What an entry commits to: the length of the bytes, of a part None, and
    the commitment."""
    original = parse_entry(data).get("original")
    if original is None:
        raise Refused("the entry has no commitment to an original")
    if part is None:
        return original["bytes"], original["commitment"]
    parts = original.get("parts", [])
    if not 0 <= part < len(parts):
        raise Refused("the entry has no commitment to a part %d (a long list is elsewhere in the log)" % part)
    return None, parts[part]


def run_exact(arguments):
    sources = (arguments.commitment, arguments.proof, arguments.entry)
    if not arguments.salt or sum(source is not None for source in sources) != 1:
        raise Usage("--exact needs --salt, and one of --commitment, --proof and --entry")
    facts, notes, length, text = {}, [], None, arguments.commitment
    if text is None:
        if arguments.proof is not None:
            facts, notes, data = check_proof(arguments)
            if data is None:
                return report(arguments, facts, notes, {})
        else:
            data = input_file(arguments.entry)
            notes.append("an entry alone does not show that it is in a log; its proof does")
        try:
            length, text = commitment_of(data, arguments.part)
        except Refused as error:
            return report(arguments, [(arguments.exact, error.what)], notes, facts)
    try:
        salt, commitment = hex_hash(arguments.salt.lower()), hex_hash(text.lower())
    except Refused as error:
        raise Usage(error.what)
    try:
        with open(arguments.exact, "rb") as file:
            value, total = hashlib.sha256(salt), 0
            for piece in iter(lambda: file.read(1 << 20), b""):
                value.update(piece)
                total += len(piece)
    except (FileNotFoundError, IsADirectoryError):
        raise Usage("%s: no such file" % arguments.exact)
    problems = []
    if value.digest() != commitment or length not in (None, total):
        problems.append((arguments.exact, "with this salt, these are not the bytes that the commitment is of"))
    return report(arguments, problems, notes, {**facts, "bytes": total})


def main(argv=None):
    parser = argparse.ArgumentParser(description="Checks what a Tabellion log stores as evidence.")
    parser.add_argument("directory", nargs="?", metavar="DIR", help="a data directory, or a bundle")
    parser.add_argument("--proof", metavar="F", help="a .tlog-proof file")
    parser.add_argument("--exact", metavar="FILE", help="a file that may be the exact bytes of a body or part")
    parser.add_argument("--vkey", metavar="K", help="the log's verifier key, or a file with it")
    older = "an older checkpoint, or a proof with one, that the log must extend; any number of them"
    parser.add_argument("--checkpoint", metavar="F", action="append", default=[], help=older)
    quiet = "the longest silence, in seconds, within a session"
    parser.add_argument("--max-quiet", metavar="S", type=float, help=quiet)
    parser.add_argument("--witness", metavar="K", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--policy", metavar="F", help="of a bundle: whose cosignatures are enough (c2sp.org/tlog-policy)")
    parser.add_argument("--tsa-roots", metavar="F", help="roots of timestamp authorities, in PEM")
    parser.add_argument("--salt", metavar="HEX", help="the salt of the commitment")
    parser.add_argument("--entry", metavar="F", help="the entry that commits to the bytes")
    parser.add_argument("--part", metavar="N", type=int, help="the bytes are of this part of the body, counted from 0")
    parser.add_argument("--commitment", metavar="HEX", help="the commitment in the entry")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    arguments = parser.parse_args(argv)
    try:
        if arguments.exact is not None and arguments.directory is None:
            return run_exact(arguments)
        if sum(target is not None for target in (arguments.directory, arguments.proof, arguments.exact)) != 1:
            raise Usage("give one of DIR, --proof and --exact")
        return run_directory(arguments) if arguments.directory is not None else run_proof(arguments)
    except Usage as error:
        print("tabellion_verify.py: %s" % error, file=sys.stderr)
        return 2
    except (Environment, OSError) as error:
        print("tabellion_verify.py: %s" % error, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
