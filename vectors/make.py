#!/usr/bin/env python3
"""Writes the vectors that README.md beside it describes.

Python's standard library and the `openssl` command only. Everything is
computed from the definitions (the tree by RFC 6962's recursion, for one), not
by the algorithms that the vectors test.
"""

import base64
import datetime
import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


# --- The definitions ---------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(entry):
    return sha256(b"\x00" + entry)


def split(n):
    """The largest power of two less than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves):
    """RFC 6962, section 2.1; of leaf hashes."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m, leaves):
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return path(m, leaves[:k]) + [mth(leaves[k:])]
    return path(m - k, leaves[k:]) + [mth(leaves[:k])]


def subproof(m, leaves, whole):
    """RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return subproof(m, leaves[:k], whole) + [mth(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [mth(leaves[:k])]


def consistency(m, leaves):
    return subproof(m, leaves, True) if m else []


def b64(data):
    return base64.b64encode(data).decode()


def openssl(*arguments, **files):
    """Runs openssl; each argument that names one of `files` is replaced by the
    path of a file with that content."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        arguments = [os.path.join(folder, a) if a in files else a for a in arguments]
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


class Key:
    """An Ed25519 key pair under a name; `kind` is the algorithm byte."""

    def __init__(self, name, seed, kind=1):
        self.name, self.kind = name, kind
        # PKCS #8 of an Ed25519 key (RFC 8410, section 7), the seed last.
        self.der = bytes.fromhex("302e020100300506032b657004220420") + seed
        self.public = openssl("pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER", key=self.der)[-32:]
        self.id = sha256(name.encode() + b"\n" + bytes([kind]) + self.public)[:4]

    @property
    def vkey(self):
        return "%s+%s+%s" % (self.name, self.id.hex(), b64(bytes([self.kind]) + self.public))

    def raw(self, message):
        return openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", "key", "-in", "m", key=self.der, m=message)

    def line(self, text, time=None):
        """A signature line; a cosignature/v1 if there is a time."""
        if time is None:
            signature = self.raw(text.encode())
        else:
            signature = struct.pack(">Q", time) + self.raw(("cosignature/v1\ntime %d\n" % time + text).encode())
        return "\u2014 %s %s\n" % (self.name, b64(self.id + signature))

    def note(self, text):
        return text + "\n" + self.line(text)


def checkpoint_text(origin, size, root, *extensions):
    return "\n".join([origin, str(size), b64(root), *extensions]) + "\n"


def flip(data, byte, bit=0):
    data = bytearray(data)
    data[byte] ^= 1 << bit
    return bytes(data)


def flip_text(text, position):
    """Another character of the base64 alphabet, or another letter or digit."""
    c = text[position]
    return text[:position] + ("B" if c == "A" else "A") + text[position + 1 :]


# --- Writing -----------------------------------------------------------------

COUNT = {}


def case(kind, name, expect, why, /, **members):
    assert expect in ("accept", "refuse")
    folder = os.path.join(HERE, kind)
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, name + ".json")
    assert not os.path.exists(target), target
    with open(target, "w", encoding="utf-8") as f:
        json.dump({"expect": expect, "why": why, **members}, f, indent=1, ensure_ascii=True)
        f.write("\n")
    COUNT.setdefault(kind, {"accept": 0, "refuse": 0})[expect] += 1


def hexes(hashes):
    return [h.hex() for h in hashes]


# --- The cases ---------------------------------------------------------------

LOG = Key("log.example/vectors", bytes(range(32)))
OTHER = Key("log.example/other", bytes(range(32, 64)))
IMPOSTOR = Key("log.example/vectors", bytes(range(64, 96)))
WITNESS = Key("witness.example/w1", bytes(range(96, 128)), kind=4)
WITNESS2 = Key("witness.example/w2", bytes(range(128, 160)), kind=4)

# The leaves that Certificate Transparency's own tests use.
CT_LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
MANY = [b"entry %d" % i for i in range(300)]


def keys():
    good = LOG.vkey
    name, ident, key = good.split("+", 2)
    case("key", "ed25519", "accept", "an Ed25519 key", vkey=good, name=name, id=ident)
    case("key", "cosigner", "accept", "a witness's key", vkey=WITNESS.vkey, name=WITNESS.name, id=WITNESS.id.hex())
    plus = next(k for k in (Key("log.example/%d" % n, bytes([n]) * 32) for n in range(1, 50)) if "+" in k.vkey.split("+", 2)[2])
    case("key", "plus-in-base64", "accept", "base64 has plus signs of its own", vkey=plus.vkey, name=plus.name, id=plus.id.hex())
    case("key", "wrong-id", "refuse", "the id is another key's", vkey="%s+%s+%s" % (name, OTHER.id.hex(), key))
    case("key", "renamed", "refuse", "the id is over the name too", vkey="log.example/renamed+%s+%s" % (ident, key))
    case("key", "upper-case-id", "refuse", "hexadecimal is lower case", vkey="%s+%s+%s" % (name, "ABCDEF01", key))
    case("key", "short-id", "refuse", "an id has eight digits", vkey="%s+%s+%s" % (name, ident[1:], key))
    case("key", "no-name", "refuse", "a name is not empty", vkey="+%s+%s" % (ident, key))
    case("key", "space-in-name", "refuse", "a name has no spaces", vkey=Key("log example", bytes(32)).vkey)
    case("key", "wide-space-in-name", "refuse", "nor any of Unicode's", vkey=Key("log\u3000example", bytes(32)).vkey)
    case("key", "two-fields", "refuse", "three fields", vkey="%s+%s" % (name, ident))
    case("key", "padding", "refuse", "33 bytes need no padding", vkey=good + "=")
    case("key", "newline", "refuse", "nothing follows the key", vkey=good + "\n")
    short = b"\x01" + LOG.public[:31]
    case("key", "short", "refuse", "31 bytes", vkey="%s+%s+%s" % (name, sha256(name.encode() + b"\n" + short)[:4].hex(), b64(short)))
    for kind in (0x00, 0x02, 0x06, 0xFF):
        case("key", "algorithm-%02x" % kind, "refuse", "an algorithm that we do not support", vkey=Key(name, bytes(32), kind).vkey)
    weak = b"\x01\x01" + bytes(31)
    case("key", "small-order", "refuse", "the neutral element signs everything",
         vkey="%s+%s+%s" % (name, sha256(name.encode() + b"\n" + weak)[:4].hex(), b64(weak)))


def notes():
    text = "One line.\n\nAnother after an empty one.\n"
    note = LOG.note(text)
    case("note", "simple", "accept", "a text with an empty line, signed", note=note, keys=[LOG.vkey], text=text)
    case("note", "stranger-too", "accept", "a signature by an unknown key is ignored", note=note + OTHER.line(text), keys=[LOG.vkey], text=text)
    case("note", "stranger-bad", "accept", "even one that is wrong", note=note + OTHER.line("Else.\n"), keys=[LOG.vkey], text=text)
    case("note", "same-name", "accept", "a key of the same name and another id is another key", note=note + IMPOSTOR.line("Else.\n"), keys=[LOG.vkey], text=text)
    case("note", "two-known", "accept", "both known keys signed", note=note + OTHER.line(text), keys=[OTHER.vkey, LOG.vkey], text=text)
    case("note", "sixteen", "accept", "sixteen signatures", note=note + "".join(OTHER.line(text) for _ in range(15)), keys=[LOG.vkey], text=text)
    case("note", "one-of-two-bad", "refuse", "a bad signature of a known key refuses the note", note=note + OTHER.line("Else.\n"), keys=[LOG.vkey, OTHER.vkey])
    case("note", "good-then-bad", "refuse", "a second signature of the same key is bad", note=note + LOG.line("Else.\n"), keys=[LOG.vkey])
    case("note", "unknown", "refuse", "no known key signed", note=note, keys=[OTHER.vkey])
    case("note", "no-keys", "refuse", "no keys are known", note=note, keys=[])
    case("note", "same-name-only", "refuse", "signed by another key of that name", note=IMPOSTOR.note(text), keys=[LOG.vkey])
    case("note", "text-changed", "refuse", "the text is not what was signed", note=note.replace("One", "Two"), keys=[LOG.vkey])
    case("note", "unsigned", "refuse", "no signatures", note=text, keys=[LOG.vkey])
    case("note", "empty-signatures", "refuse", "a blank line and nothing after it", note=text + "\n", keys=[LOG.vkey])
    case("note", "no-last-newline", "refuse", "the last line does not end", note=note[:-1], keys=[LOG.vkey])
    case("note", "two-last-newlines", "refuse", "a blank line after the signatures", note=note + "\n", keys=[LOG.vkey])
    case("note", "hyphen", "refuse", "a hyphen is no em dash", note=note.replace("\u2014", "-"), keys=[LOG.vkey])
    case("note", "carriage-return", "refuse", "no control characters", note=LOG.note("A\r\n"), keys=[LOG.vkey])
    case("note", "tab", "refuse", "no control characters", note=LOG.note("A\tB\n"), keys=[LOG.vkey])
    head, line = note.rsplit("\u2014 ", 1)
    name, signature = line[:-1].split(" ")
    raw = base64.b64decode(signature)
    def signed(data):
        return "%s\u2014 %s %s\n" % (head, name, b64(data))
    case("note", "signature-flipped", "refuse", "one bit of the signature", note=signed(flip(raw, 20)), keys=[LOG.vkey])
    case("note", "signature-short", "refuse", "63 bytes", note=signed(raw[:-1]), keys=[LOG.vkey])
    case("note", "signature-long", "refuse", "65 bytes", note=signed(raw + b"\0"), keys=[LOG.vkey])
    case("note", "id-only", "refuse", "no signature after the key id", note=signed(raw[:4]), keys=[LOG.vkey])
    case("note", "base64-unpadded", "refuse", "base64 has padding", note=note.rstrip("\n").rstrip("=") + "\n", keys=[LOG.vkey])
    # The order of the group; s + order passes a verifier that does not check s < order.
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(raw[36:], "little") + order
    case("note", "signature-malleable", "refuse", "s is not reduced", note=signed(raw[:36] + s.to_bytes(32, "little")), keys=[LOG.vkey])


def checkpoints():
    leaves = [leaf_hash(e) for e in MANY]
    root = mth(leaves)
    text = checkpoint_text(LOG.name, 300, root)
    note = LOG.note(text)
    good = dict(vkey=LOG.vkey, size=300, root=root.hex())
    case("checkpoint", "simple", "accept", "a checkpoint", note=note, **good)
    case("checkpoint", "cosigned", "accept", "with a cosignature", note=note + WITNESS.line(text, 1700000000), **good)
    extended = checkpoint_text(LOG.name, 300, root, "extension", "\u00fcber")
    case("checkpoint", "extension", "accept", "extension lines are opaque", note=LOG.note(extended), **good)
    case("checkpoint", "empty-tree", "accept", "a log without entries", note=LOG.note(checkpoint_text(LOG.name, 0, sha256(b""))), vkey=LOG.vkey, size=0, root=sha256(b"").hex())
    largest = 2**64 - 1
    case("checkpoint", "largest", "accept", "sizes have 64 bits", note=LOG.note(checkpoint_text(LOG.name, largest, root)), vkey=LOG.vkey, size=largest, root=root.hex())
    def bad(name, why, text=None, note=None, vkey=LOG.vkey):
        case("checkpoint", name, "refuse", why, note=note if note is not None else LOG.note(text), vkey=vkey)
    bad("too-large", "sizes have 64 bits", checkpoint_text(LOG.name, 2**64, root))
    bad("other-origin", "signed by this key, of another log", checkpoint_text(OTHER.name, 300, root))
    bad("origin-only-prefix", "the origin is the whole name", checkpoint_text(LOG.name + "/2", 300, root))
    bad("other-key", "another log's key", note=note, vkey=OTHER.vkey)
    bad("impostor", "a key of the same name", note=IMPOSTOR.note(text))
    bad("witness-key", "a witness's key is no log's", note=note + WITNESS.line(text, 1), vkey=WITNESS.vkey)
    bad("size-changed", "the size is signed", note=note.replace("\n300\n", "\n301\n"))
    bad("root-changed", "the root is signed", note=note.replace(b64(root), b64(flip(root, 0))))
    bad("leading-zero", "no leading zeros", text.replace("\n300\n", "\n0300\n"))
    bad("plus-sign", "digits only", text.replace("\n300\n", "\n+300\n"))
    bad("negative", "digits only", text.replace("\n300\n", "\n-300\n"))
    bad("space", "digits only", text.replace("\n300\n", "\n300 \n"))
    bad("arabic-digits", "ASCII digits only", text.replace("\n300\n", "\n\u0663\u0660\u0660\n"))
    bad("empty-size", "a size is a number", text.replace("\n300\n", "\n\n"))
    bad("no-root", "three lines", "%s\n300\n" % LOG.name)
    bad("short-root", "32 bytes", text.replace(b64(root), b64(root[:31])))
    bad("long-root", "32 bytes", text.replace(b64(root), b64(root + b"\0")))
    bad("hex-root", "base64", text.replace(b64(root), root.hex()))
    bad("loose-root", "the unused bits of base64 are zero", text.replace(b64(root), loosen(b64(root))))
    bad("url-root", "the standard alphabet", checkpoint_text(LOG.name, 300, b"\xfb" * 32).replace("+", "-"))
    bad("empty-origin", "an origin is not empty", "\n300\n%s\n" % b64(root))
    bad("empty-extension", "no extension line is empty", text + "\nextension\n")
    case("checkpoint", "not-utf-8", "refuse", "UTF-8", note_bytes=(b"\xff" + note.encode()).hex(), vkey=LOG.vkey)


def loosen(text):
    """The same bytes in base64 for a decoder that ignores unused bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-2] + alphabet[alphabet.index(text[-2]) + 1] + "="


def cosignatures():
    root = mth([leaf_hash(e) for e in CT_LEAVES])
    text = checkpoint_text(LOG.name, 8, root)
    note = LOG.note(text)
    both = [WITNESS.vkey, WITNESS2.vkey]
    case("cosignature", "none", "accept", "nobody cosigned", note=note, witnesses=both, times={})
    case("cosignature", "one", "accept", "one did", note=note + WITNESS.line(text, 1700000000), witnesses=both, times={WITNESS.name: 1700000000})
    case("cosignature", "both", "accept", "both did", note=note + WITNESS.line(text, 1700000000) + WITNESS2.line(text, 2**63 - 1), witnesses=both,
         times={WITNESS.name: 1700000000, WITNESS2.name: 2**63 - 1})
    case("cosignature", "unknown", "accept", "an unknown one did, and wrongly", note=note + WITNESS2.line("Else.\n", 5), witnesses=[WITNESS.vkey], times={})
    wrong = WITNESS.line(checkpoint_text(LOG.name, 9, root), 1700000000)
    case("cosignature", "other-text", "refuse", "over another checkpoint", note=note + wrong, witnesses=both)
    signature = struct.pack(">Q", 1700000001) + WITNESS.raw(("cosignature/v1\ntime 1700000000\n" + text).encode())
    case("cosignature", "other-time", "refuse", "the time is signed", note=note + "\u2014 %s %s\n" % (WITNESS.name, b64(WITNESS.id + signature)), witnesses=both)
    case("cosignature", "no-time", "refuse", "a plain signature under the cosigner's id", note=note + WITNESS.line(text), witnesses=both)
    case("cosignature", "time-too-large", "refuse", "times have 63 bits", note=note + WITNESS.line(text, 2**63), witnesses=both)
    case("cosignature", "log-key", "refuse", "a log's key is no witness's", note=note, witnesses=[LOG.vkey])


def paths():
    def good(path, **members):
        case("path", path.replace("/", "-").replace(".", "_"), "accept", "as the specification writes it", path=path, **members)
    good("tile/0/000", level=0, index=0, width=256)
    good("tile/0/000.p/1", level=0, index=0, width=1)
    good("tile/0/x001/x234/067", level=0, index=1234067, width=256)
    good("tile/0/x001/x234/067.p/255", level=0, index=1234067, width=255)
    good("tile/63/999", level=63, index=999, width=256)
    good("tile/1/x018/x446/x744/x073/x709/x551/615", level=1, index=2**64 - 1, width=256)
    good("tile/entries/x273/112.p/5", index=273112, width=5)
    for n, (path, why) in enumerate([
        ("tile/0/0", "three digits"), ("tile/0/0000", "three digits"), ("tile/0/x000/001", "no leading groups"),
        ("tile/0/001/002", "all but the last have an x"), ("tile/0/x001", "the last has none"), ("tile/0/X001/002", "a small x"),
        ("tile/00/000", "no leading zero"), ("tile/64/000", "levels 0 to 63"), ("tile/-1/000", "digits only"), ("tile//000", "a level"),
        ("tile/0/000.p/0", "widths 1 to 255"), ("tile/0/000.p/256", "widths 1 to 255"), ("tile/0/000.p/01", "no leading zero"),
        ("tile/0/000.p/", "a width"), ("tile/0/000.p", "a width"), ("tile/0/000.p/1/", "nothing follows"), ("tile/0/000/", "nothing follows"),
        ("/tile/0/000", "relative"), ("tile/0/../000", "no way up"), ("tile/0/0a0", "decimal"), ("tile/0/\u0660\u0660\u0660", "ASCII digits"),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", "64 bits"), ("tile/entries/0", "three digits"), ("tile/entries/000.p/256", "widths 1 to 255"),
        ("tile/0/+01", "digits only"), ("tile/0/000.P/1", "a small p"), ("checkpoint", "no tile"), ("", "no tile"),
    ]):
        case("path", "refuse-%02d" % n, "refuse", why, path=path)


def trees():
    for n in range(len(CT_LEAVES) + 1):
        leaves = CT_LEAVES[:n]
        case("root", "ct-%d" % n, "accept", "Certificate Transparency's test leaves", leaves=hexes(leaves), root=mth([leaf_hash(e) for e in leaves]).hex())
    for n in (255, 256, 257, 300):
        leaves = MANY[:n]
        case("root", "many-%d" % n, "accept", "around a full tile", leaves=hexes(leaves), root=mth([leaf_hash(e) for e in leaves]).hex())
    plain = [sha256(e) for e in CT_LEAVES]
    case("root", "no-leaf-prefix", "refuse", "leaves are hashed with 0x00 before them", leaves=hexes(CT_LEAVES), root=mth(plain).hex())
    def unprefixed(leaves):
        return leaves[0] if len(leaves) == 1 else sha256(unprefixed(leaves[: split(len(leaves))]) + unprefixed(leaves[split(len(leaves)) :]))
    case("root", "no-node-prefix", "refuse", "nodes are hashed with 0x01 before them", leaves=hexes(CT_LEAVES), root=unprefixed([leaf_hash(e) for e in CT_LEAVES]).hex())
    three = [leaf_hash(e) for e in CT_LEAVES[:3]]
    case("root", "last-doubled", "refuse", "an odd leaf is not paired with itself", leaves=hexes(CT_LEAVES[:3]), root=mth(three + three[2:]).hex())
    case("root", "swapped", "refuse", "order matters", leaves=hexes([CT_LEAVES[1], CT_LEAVES[0]]), root=mth([leaf_hash(e) for e in CT_LEAVES[:2]]).hex())

    all_leaves = [leaf_hash(e) for e in MANY]
    for size, index in ((1, 0), (2, 1), (3, 2), (7, 3), (7, 6), (8, 0), (256, 255), (257, 256), (300, 299), (300, 17)):
        leaves = all_leaves[:size]
        proof, root, leaf = path(index, leaves), mth(leaves), leaves[index]
        name = "%d-of-%d" % (index, size)
        def inclusion(suffix, expect, why, index=index, size=size, leaf=leaf, root=root, proof=proof):
            case("inclusion", name + suffix, expect, why, index=index, size=size, leaf=leaf.hex(), root=root.hex(), proof=hexes(proof))
        inclusion("", "accept", "a proof")
        inclusion("-root", "refuse", "another root", root=flip(root, 31))
        inclusion("-leaf", "refuse", "another leaf", leaf=flip(leaf, 0, 7))
        inclusion("-extended", "refuse", "a hash too many", proof=proof + [sha256(b"x")])
        inclusion("-beyond", "refuse", "the index is not in the tree", index=size)
        if proof:
            inclusion("-truncated", "refuse", "a hash too few", proof=proof[:-1])
            inclusion("-empty", "refuse", "no hashes", proof=[])
            inclusion("-flipped", "refuse", "one bit of the first hash", proof=[flip(proof[0], 5, 3)] + proof[1:])
            inclusion("-neighbour", "refuse", "the neighbour's place", index=index ^ 1 if index ^ 1 < size else index - 1)
        if len(proof) > 1:
            inclusion("-reversed", "refuse", "from the root to the leaf", proof=proof[::-1])
    case("inclusion", "empty-tree", "refuse", "nothing is in the empty tree", index=0, size=0, leaf=three[0].hex(), root=sha256(b"").hex(), proof=[])
    two = all_leaves[:2]
    case("inclusion", "node-as-leaf", "refuse", "the root of two leaves is no leaf of a tree of two", index=0, size=2, leaf=mth(two).hex(), root=mth(two).hex(), proof=[])
    huge = 2**64 - 1
    case("inclusion", "huge", "refuse", "nothing overflows", index=huge - 1, size=huge, leaf=two[0].hex(), root=two[1].hex(), proof=hexes([two[0]] * 64))

    for old, new in ((1, 2), (1, 8), (3, 7), (4, 7), (6, 8), (8, 8), (255, 256), (256, 257), (256, 300), (257, 300), (299, 300)):
        leaves = all_leaves[:new]
        proof, old_root, new_root = consistency(old, leaves), mth(leaves[:old]), mth(leaves)
        name = "%d-to-%d" % (old, new)
        def consistent(suffix, expect, why, old=old, old_root=old_root, new=new, new_root=new_root, proof=proof):
            case("consistency", name + suffix, expect, why, old=old, old_root=old_root.hex(), new=new, new_root=new_root.hex(), proof=hexes(proof))
        consistent("", "accept", "a proof")
        consistent("-old-root", "refuse", "another old root", old_root=flip(old_root, 0))
        consistent("-new-root", "refuse", "another new root", new_root=flip(new_root, 0))
        consistent("-extended", "refuse", "a hash too many", proof=proof + [sha256(b"x")])
        if proof:
            consistent("-truncated", "refuse", "a hash too few", proof=proof[:-1])
            consistent("-empty", "refuse", "no hashes", proof=[])
            consistent("-flipped", "refuse", "one bit of the last hash", proof=proof[:-1] + [flip(proof[-1], 9, 1)])
            consistent("-swapped", "refuse", "old and new the other way round", old=new, old_root=new_root, new=old, new_root=old_root)
            forged = mth(leaves[: old - 1] + [sha256(b"forged")] + leaves[old:])
            consistent("-rewritten", "refuse", "the new tree has another leaf where the old one ends", new_root=forged)
    empty = sha256(b"")
    root = mth(all_leaves)
    case("consistency", "0-to-300", "accept", "everything extends the empty tree", old=0, old_root=empty.hex(), new=300, new_root=root.hex(), proof=[])
    case("consistency", "0-to-0", "accept", "the empty tree extends itself", old=0, old_root=empty.hex(), new=0, new_root=empty.hex(), proof=[])
    case("consistency", "0-to-300-proof", "refuse", "and needs no proof", old=0, old_root=empty.hex(), new=300, new_root=root.hex(), proof=hexes([root]))
    case("consistency", "0-to-300-old-root", "refuse", "the empty tree has one root", old=0, old_root=root.hex(), new=300, new_root=root.hex(), proof=[])
    case("consistency", "huge", "refuse", "nothing overflows", old=huge - 1, old_root=root.hex(), new=huge, new_root=root.hex(), proof=hexes([root] * 64))


def bundle(entries):
    return b"".join(struct.pack(">H", len(e)) + e for e in entries)


def bundles():
    entries = [b"one", b"", b"three"]
    data = bundle(entries)
    case("bundle", "three", "accept", "three entries, one empty", bytes=data.hex(), width=3, entries=hexes(entries))
    case("bundle", "full", "accept", "256 entries", bytes=bundle(MANY[:256]).hex(), width=256, entries=hexes(MANY[:256]))
    case("bundle", "too-few", "refuse", "one entry less than the width", bytes=data.hex(), width=4)
    case("bundle", "too-many", "refuse", "one entry more than the width", bytes=data.hex(), width=2)
    case("bundle", "cut", "refuse", "cut inside the last entry", bytes=data[:-1].hex(), width=3)
    case("bundle", "cut-in-length", "refuse", "cut inside a length", bytes=data[:6].hex(), width=2)
    case("bundle", "trailing", "refuse", "a byte after the last entry", bytes=(data + b"\0").hex(), width=3)
    case("bundle", "nothing", "refuse", "no bytes", bytes="", width=1)
    case("bundle", "little-endian", "refuse", "big-endian", bytes=b"".join(struct.pack("<H", len(e)) + e for e in entries).hex(), width=3)


def pack(parts):
    return b"".join(sha256(p) + struct.pack(">I", len(p)) + p for p in parts)


def packs():
    parts = [b'{"messages":[\0]}', b"", b'{"role":"user"}']
    data = pack(parts)
    case("pack", "three", "accept", "three parts, one empty", bytes=data.hex(), parts=hexes(parts))
    case("pack", "nothing", "accept", "no parts", bytes="", parts=[])
    case("pack", "hash", "refuse", "one bit of a hash", bytes=flip(data, 0).hex())
    case("pack", "part", "refuse", "one bit of a part", bytes=flip(data, len(data) - 1).hex())
    case("pack", "length", "refuse", "a length that reaches beyond the end", bytes=flip(data, 32, 7).hex())
    case("pack", "cut", "refuse", "cut inside a part", bytes=data[:-1].hex())
    case("pack", "cut-in-hash", "refuse", "cut inside a hash", bytes=data[:31].hex())
    case("pack", "cut-in-length", "refuse", "cut inside a length", bytes=data[:34].hex())
    case("pack", "trailing", "refuse", "a byte after the last part", bytes=(data + b"\0").hex())
    tree = b"".join(leaf_hash(p) + struct.pack(">I", len(p)) + p for p in parts)
    case("pack", "leaf-hash", "refuse", "parts are hashed without a prefix", bytes=tree.hex())

    def body(name, expect, why, frame, parts, result):
        case("body", name, expect, why, frame=frame.hex(), parts=hexes(parts), body=result.hex())
    body("two", "accept", "two parts", b"[\0,\0]", [b"1", b"22"], b"[1,22]")
    body("none", "accept", "a frame alone", b"{}", [], b"{}")
    body("empty-part", "accept", "an empty part", b"\0", [b""], b"")
    body("only", "accept", "nothing but parts", b"\0\0", [b"a", b"b"], b"ab")
    body("too-few", "refuse", "a part too few", b"[\0,\0]", [b"1"], b"[1,]")
    body("too-many", "refuse", "a part too many", b"[\0]", [b"1", b"2"], b"[1]")
    body("order", "refuse", "the other order", b"[\0,\0]", [b"1", b"22"], b"[22,1]")
    body("unreplaced", "refuse", "no zero byte stays", b"[\0]", [], b"[\0]")


def proofs():
    index = 41
    leaves = [leaf_hash(e) for e in MANY]
    entry, hashes, root = MANY[index], path(index, leaves), mth(leaves)
    text = checkpoint_text(LOG.name, 300, root)
    note = LOG.note(text)

    def proof(header="c2sp.org/tlog-proof@v1", extra=b64(entry), index=str(index), hashes=hashes, note=note, gap="\n"):
        lines = [header] + (["extra " + extra] if extra is not None else []) + ["index " + index] + [b64(h) for h in hashes]
        return "\n".join(lines) + "\n" + gap + note

    def accept(name, why, data, size=300, index=index, entry=entry):
        case("proof", name, "accept", why, proof=data, vkey=LOG.vkey, entry=entry.hex(), index=index, size=size)
    def refuse(name, why, data, vkey=LOG.vkey, entry=entry):
        case("proof", name, "refuse", why, proof=data, vkey=vkey, entry=entry.hex())

    accept("simple", "with the entry as extra data", proof())
    accept("no-extra", "extra data may be absent", proof(extra=None))
    accept("other-extra", "and is not authenticated", proof(extra=b64(b"anything")))
    accept("cosigned", "with a cosignature", proof(note=note + WITNESS.line(text, 1700000000)))
    single = mth(leaves[:1])
    accept("single", "a log of one entry has an empty proof", proof(extra=None, index="0", hashes=[], note=LOG.note(checkpoint_text(LOG.name, 1, single))), size=1, index=0, entry=MANY[0])
    refuse("other-entry", "another entry", proof(), entry=MANY[index + 1])
    refuse("other-index", "another index", proof(index="40"))
    refuse("index-beyond", "an index beyond the tree", proof(index="300"))
    refuse("index-zero", "a leading zero", proof(index="041"))
    refuse("index-plus", "digits only", proof(index="+41"))
    refuse("index-huge", "64 bits", proof(index=str(2**64)))
    refuse("index-empty", "a number", proof(index=""))
    refuse("other-key", "another log's key", proof(), vkey=OTHER.vkey)
    refuse("impostor", "a checkpoint by another key of that name", proof(note=IMPOSTOR.note(text)))
    refuse("unsigned", "a checkpoint without signature", proof(note=text))
    refuse("other-tree", "a signed checkpoint of another tree", proof(note=LOG.note(checkpoint_text(LOG.name, 300, sha256(b"x")))))
    refuse("smaller-tree", "a signed checkpoint of a smaller tree", proof(note=LOG.note(checkpoint_text(LOG.name, 256, mth(leaves[:256])))))
    refuse("hash-missing", "a hash too few", proof(hashes=hashes[:-1]))
    refuse("hash-more", "a hash too many", proof(hashes=hashes + [root]))
    refuse("hash-flipped", "one bit of a hash", proof(hashes=[flip(hashes[0], 0)] + hashes[1:]))
    refuse("hash-order", "from the root to the leaf", proof(hashes=hashes[::-1]))
    refuse("hash-short", "31 bytes", proof(hashes=[hashes[0][:31]] + hashes[1:]))
    refuse("hash-loose", "the unused bits of base64 are zero", proof().replace(b64(hashes[2]), loosen(b64(hashes[2]))))
    refuse("extra-base64", "base64 has padding", proof(extra=b64(entry + b"1" if len(entry) % 3 == 0 else entry).rstrip("=")))
    refuse("extra-twice", "one line of extra data", proof().replace("index", "extra AAAA\nindex", 1))
    refuse("version", "another version", proof(header="c2sp.org/tlog-proof@v2"))
    refuse("no-header", "the header comes first", proof().split("\n", 1)[1])
    refuse("no-gap", "an empty line before the checkpoint", proof(gap=""))
    refuse("two-gaps", "one empty line", proof(gap="\n\n"))
    refuse("carriage-returns", "lines end in newlines", proof().replace("\n", "\r\n"))
    refuse("trailing", "nothing follows the checkpoint", proof() + "x")
    refuse("empty", "no bytes", "")


def entries():
    hash_a, hash_b = sha256(b"a").hex(), sha256(b"b").hex()
    frame = {"role": "frame", "sha256": hash_a, "bytes": 1}
    content = {"sha256": hash_b, "bytes": 3, "parts": [frame, {"role": "user", "sha256": hash_b, "bytes": 2, "findings": {"EMAIL_ADDRESS": 1}}]}
    request = {
        "v": 1, "kind": "exchange.request", "id": "01JDA5N0000000000000000000", "exchange": "01JDA5N0000000000000000000",
        "time": "2026-11-22T10:00:00.123456Z", "upstream": "openai", "operation": "POST /v1/chat/completions", "model": "gpt-4o-mini",
        "case": "C-1042", "actor": "k_9f2c41ab", "tags": {"team": "blue"}, "content": content,
        "original": {"bytes": 3, "commitment": hash_a, "parts": [hash_b]},
        "redaction": {"policy": "sha256:" + hash_a, "findings": {"EMAIL_ADDRESS": 1}, "tokens": ["EMAIL_ADDRESS:k7f3q2ab"]},
        "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    response = {
        "v": 1, "kind": "exchange.response", "id": "01JDA5N0000000000000000001", "exchange": "01JDA5N0000000000000000000",
        "time": "2026-11-22T10:00:01.123456Z", "content": {"omitted": "empty"}, "outcome": "error", "status": 503,
        "reason": "upstream_unreachable", "usage": {"input": 3, "output": 0},
    }
    start = {"v": 1, "kind": "custody.start", "id": "01JDA5N0000000000000000002", "time": "2026-11-22T10:00:00.000000Z"}

    def text(value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    def changed(value, **members):
        return text({**value, **members})
    def without(value, name):
        return text({k: v for k, v in value.items() if k != name})
    def accept(name, why, entry):
        case("entry", name, "accept", why, entry=entry)
    def refuse(name, why, entry):
        case("entry", name, "refuse", why, entry=entry)

    accept("request", "with everything", text(request))
    accept("response", "without content", text(response))
    accept("start", "a custody entry", text(start))
    accept("unknown-kind", "a later version's kind", changed(start, kind="custody.reveal"))
    accept("unknown-member", "members that we do not know are ignored", changed(start, future={"a": [1, None, 1.5]}))
    accept("manifest", "the list of parts is elsewhere", changed(request, content={"sha256": hash_a, "bytes": 3, "manifest": hash_b}))
    accept("assembled", "of a stream", changed(request, content={**content, "assembled": True}))
    accept("usage-half", "the provider counted only what it wrote", changed(response, usage={"output": 4}))
    refuse("empty", "no bytes", "")
    refuse("array", "an object", "[%s]" % text(start))
    refuse("positional", "an object, not its values", "[1,\"custody.start\",\"a\",\"b\"]")
    refuse("number", "an object", "1")
    refuse("trailing", "one object", text(start) + "{}")
    refuse("cut", "a whole object", text(start)[:-1])
    refuse("version-2", "another version", changed(start, v=2))
    refuse("version-text", "a number", changed(start, v="1"))
    refuse("version-float", "a whole number", text(start).replace('"v":1', '"v":1.0'))
    refuse("version-true", "a number", changed(start, v=True))
    for name in ("v", "kind", "id", "time"):
        refuse("no-" + name, "every entry has it", without(start, name))
    refuse("duplicate", "a member twice", text(start).replace('"v":1', '"v":1,"v":1'))
    refuse("duplicate-escaped", "a member twice, once with an escape", text(start).replace('"v":1', '"v":1,"\\u0076":1'))
    refuse("duplicate-unknown", "also one that we do not know", text(start).replace('"v":1', '"x":1,"v":1,"x":1'))
    refuse("duplicate-deep", "on any level", changed(start, future={}).replace("{}", '{"a":[{"b":1,"b":2}]}'))
    refuse("duplicate-tag", "on any level", text(request).replace('{"team":"blue"}', '{"team":"blue","team":"red"}'))
    refuse("null", "a member that has nothing to say is left out", changed(start, upstream=None))
    refuse("null-content", "a member that has nothing to say is left out", changed(request, content=None))
    refuse("kind-number", "text", changed(start, kind=1))
    refuse("request-of-another", "a request is its exchange", changed(request, exchange="01JDA5N0000000000000000009"))
    refuse("request-without-exchange", "a request names its exchange", without(request, "exchange"))
    refuse("response-without-exchange", "a response names its exchange", without(response, "exchange"))
    refuse("response-without-outcome", "a response has an outcome", without(response, "outcome"))
    refuse("outcome-unknown", "one of five", changed(response, outcome="fine"))
    refuse("status-large", "sixteen bits", changed(response, status=65536))
    refuse("status-negative", "unsigned", changed(response, status=-1))
    refuse("status-minus-zero", "unsigned", text(response).replace("503", "-0"))
    refuse("usage-array", "an object, not its values", changed(response, usage=[1, 2]))
    refuse("content-array", "an object, not its values", changed(request, content=[hash_a, 3]))
    refuse("content-empty", "a body or the reason for none", changed(request, content={}))
    refuse("content-both", "not a body and the reason for none", changed(request, content={**content, "omitted": "empty"}))
    refuse("content-omitted-unknown", "one of three", changed(request, content={"omitted": "lazy"}))
    refuse("content-no-parts", "a body has parts", changed(request, content={"sha256": hash_a, "bytes": 3}))
    refuse("content-no-frame", "the first part is the frame", changed(request, content={**content, "parts": content["parts"][1:]}))
    refuse("content-manifest-and-parts", "one or the other", changed(request, content={**content, "manifest": hash_a}))
    refuse("part-array", "an object, not its values", changed(request, content={**content, "parts": [["frame", hash_a, 1]]}))
    refuse("part-negative", "unsigned", changed(request, content={**content, "parts": [{**frame, "bytes": -1}]}))
    refuse("part-huge", "64 bits", changed(request, content={**content, "parts": [{**frame, "bytes": 2**64}]}))
    refuse("part-float", "a whole number", changed(request, content={**content, "parts": [{**frame, "bytes": 1.5}]}))
    refuse("part-no-role", "every part has a role", changed(request, content={**content, "parts": [{"sha256": hash_a, "bytes": 1}]}))
    refuse("hash-upper", "lower case", changed(request, content={**content, "sha256": hash_a.upper()}))
    refuse("hash-short", "64 digits", changed(request, content={**content, "sha256": hash_a[:-2]}))
    refuse("policy-bare", "a hash with the name of its function", changed(request, redaction={"policy": hash_a}))
    refuse("findings-negative", "a count", changed(request, redaction={"policy": "sha256:" + hash_a, "findings": {"PERSON": -1}}))
    refuse("findings-huge", "32 bits", changed(request, redaction={"policy": "sha256:" + hash_a, "findings": {"PERSON": 2**32}}))
    refuse("tags-number", "text", changed(request, tags={"team": 1}))
    refuse("nan", "JSON has no NaN", changed(start, future=float("nan")))
    refuse("control", "no control characters in strings", text(start).replace("2026", "20\n26"))
    refuse("surrogate", "half a surrogate pair is no character", text(start).replace("2026", "\\ud8002026"))
    refuse("byte-order-mark", "no byte order mark", "\ufeff" + text(start))
    refuse("deep", "not nested beyond reading", text(start)[:-1] + ',"x":' + "[" * 200 + "]" * 200 + "}")
    case("entry", "not-utf-8", "refuse", "UTF-8", entry_bytes=text(start).encode().replace(b"2026", b"\xff026").hex())
    numbered = {**start, "producer": "01JDA5N0000000000000000000", "seq": 0}
    former = {"producer": "01JDA5N0000000000000000009", "seq": 7}
    accept("numbered", "a session begins, after another", changed(numbered, key=LOG.vkey, former=former))
    accept("number-largest", "a number that every reader of JSON reads alike", changed(numbered, seq=2**53 - 1))
    refuse("number-too-large", "a number that not every reader of JSON reads alike", changed(numbered, seq=2**53))
    refuse("number-negative", "unsigned", changed(numbered, seq=-1))
    refuse("number-float", "a whole number", text(numbered).replace('"seq":0', '"seq":0.0'))
    refuse("number-text", "a number", changed(numbered, seq="0"))
    refuse("number-alone", "a number is a session's", without(numbered, "producer"))
    refuse("session-alone", "a session's entries have numbers", without(numbered, "seq"))
    refuse("session-empty", "a session has a name", changed(numbered, producer=""))
    refuse("session-long", "64 bytes at most", changed(numbered, producer="x" * 65))
    refuse("former-without-number", "the last number is what it is for", changed(numbered, former={"producer": "x"}))
    refuse("former-positional", "an object, not its values", changed(numbered, former=["x", 7]))
    refuse("former-too-large", "as an entry's own", changed(numbered, former={**former, "seq": 2**53}))
    gap = {**numbered, "kind": "custody.gap", "seq": 4, "gap": {"reason": "disk_full", "count": 3}}
    accept("gap", "a declared loss", changed(gap, gap={**gap["gap"], "since": start["time"], "until": start["time"]}))
    refuse("gap-without", "a gap says what was lost", without(gap, "gap"))
    refuse("gap-of-nothing", "a gap is of something", changed(gap, gap={"reason": "disk_full", "count": 0}))
    refuse("gap-without-reason", "a gap says why", changed(gap, gap={"count": 3}))
    expire = {**numbered, "kind": "custody.expire", "seq": 4, "erase": {"entries": [[1, 2], [5, 5]], "selection": {"keep": "90d"}}}
    accept("expire", "what was no longer to be kept", text(expire))
    refuse("expire-without", "an expiry says of what", without(expire, "erase"))
    refuse("expire-of-nothing", "an expiry is of something", changed(expire, erase={"entries": []}))
    refuse("expire-backwards", "a range from its first to its last", changed(expire, erase={"entries": [[2, 1]]}))
    refuse("expire-unordered", "ranges in order", changed(expire, erase={"entries": [[5, 5], [1, 2]]}))
    refuse("expire-adjacent", "ranges apart from each other", changed(expire, erase={"entries": [[1, 2], [3, 3]]}))
    longest = changed(start, reason="x" * (65535 - len(changed(start, reason=""))))
    accept("longest", "65,535 bytes", longest)
    refuse("too-long", "65,536 bytes", longest.replace("xxx", "xxxx", 1))


def records():
    """Whether what entries say of their sessions fits together."""
    key, other = LOG.vkey, "another+key"

    def entry(session, number, kind="exchange.request", **members):
        nth = "01JDA5N%019d" % entry.count
        entry.count += 1
        value = {"v": 1, "kind": kind, "id": nth, "time": "2026-11-22T10:00:00.000000Z", **members}
        if kind == "exchange.request":
            value["exchange"] = nth
        if session is not None:
            value.update(producer=session, seq=number)
        return json.dumps(value, separators=(",", ":"))

    entry.count = 0

    def start(session, former=None, **members):
        members = {"key": key, **members, **({"former": former} if former else {})}
        return entry(session, members.pop("seq", 0), "custody.start", **members)

    def end(session, seq):
        return {"producer": session, "seq": seq}

    def record(name, expect, why, *entries):
        case("record", name, expect, why, vkey=key, entries=list(entries))

    def accept(name, why, *entries):
        record(name, "accept", why, *entries)

    def refuse(name, why, *entries):
        record(name, "refuse", why, *entries)

    a, b, stop = start("A"), [entry("A", 1), entry("A", 2)], entry("A", 3, "custody.stop")
    accept("nothing", "no entries")
    accept("unnumbered", "an old log", entry(None, 0), entry(None, 0))
    accept("old-then-new", "an old log goes on with numbers", entry(None, 0), a, *b)
    accept("open", "a session that goes on", a, *b)
    accept("stopped", "a session that was stopped, and the next", a, *b, stop, start("B", end("A", 3)), entry("B", 1))
    crashed = start("B", end("A", 2))
    accept("recovered", "a session that crashed", a, *b, crashed, entry("B", 1, "custody.recover", former=end("A", 2)))
    accept("crashed-twice", "the second one crashed before it could say more", a, *b, crashed, start("C", end("B", 0)), entry("C", 1, "custody.recover", former=end("B", 0)))
    refuse("hole", "number 1 is missing", a, b[1])
    refuse("hole-first", "the start is missing", *b)
    refuse("order", "two entries have changed places", a, b[1], b[0])
    refuse("twice", "a number is there twice", a, b[0], entry("A", 1))
    refuse("unnumbered-after", "an entry without a number among those that have one", a, entry(None, 0), *b)
    refuse("after-stop", "a session goes on after its end", a, *b, stop, entry("A", 4))
    refuse("start-twice", "a session starts twice", a, start("A", seq=1))
    refuse("start-late", "a session starts with number 0", start("A", seq=1))
    refuse("tail", "the end of a crashed session is missing", a, b[0], crashed, entry("B", 1, "custody.recover", former=end("A", 2)))
    refuse("session", "a whole session is missing", crashed, entry("B", 1, "custody.recover", former=end("A", 2)))
    refuse("session-between", "a whole session is missing between two", a, start("C", end("B", 5)), entry("C", 1))
    refuse("session-longer", "a session has more than the next one knows of", a, *b, entry("A", 3), crashed, entry("B", 1, "custody.recover", former=end("A", 2)))
    refuse("unlinked", "a session does not name the one before", a, *b, start("B"))
    refuse("recover-missing", "a crash that is not said", a, *b, crashed, entry("B", 1))
    refuse("recover-wrong", "a crash that was elsewhere", a, *b, crashed, entry("B", 1, "custody.recover", former=end("A", 1)))
    refuse("interleaved", "a session goes on when the next one has begun", a, b[0], start("B", end("A", 1)), entry("B", 1, "custody.recover", former=end("A", 1)), b[1])
    refuse("other-key", "a session names another key than the log's", start("A", key=other))


def custody():
    """Whether acts of custody, and the keys that entries name, follow the rules. `says` is what is wrong, in order."""
    origin, start = LOG.name, 1700000000
    roles = ("writer", "reader", "officer", "auditor", "admin")
    may = {"exchange.request": "writer", "custody.key.issue": "admin", "custody.key.revoke": "admin", "custody.policy.change": "admin"}
    officers = ("case.open", "case.close", "custody.hold.place", "custody.hold.lift", "custody.request", "custody.approve",
                "custody.export", "custody.report", "custody.reveal", "custody.erase", "custody.expire")
    may.update({kind: "officer" for kind in officers})
    unissued, revoked, expired, role = (
        "uses a key that was not issued before",
        "uses a key that was revoked before",
        "uses a key that had expired",
        "is an act that the role of its key may not do",
    )
    needs, unknown, twice, late, elsewhere, own, forged, malformed = (
        "is an act that needs an approval, and names none",
        "names an approval that was not given before",
        "uses an approval a second time",
        "uses an approval that was not valid any more",
        "uses an approval of another act",
        "uses an approval by the one who acts",
        "is an approval that its key did not sign, or not of a request of this log",
        "does not say what an act of its kind has to",
    )

    def at(second):
        return datetime.datetime.fromtimestamp(start + second, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000000Z")

    def ulid(position):
        return "01JDA6N%019d" % position

    def digest(kind, details):
        lines = "".join("%s=%s\n" % pair for pair in sorted(details.items()))
        return sha256(("tabellion act v1\n%s\n%s" % (kind, lines)).encode()).hex()

    class History:
        """Entries, a second apart."""

        def __init__(self):
            self.entries = []

        def add(self, kind, second=None, **members):
            position = len(self.entries)
            second = position if second is None else second
            value = {"v": 1, "kind": kind, "id": ulid(position), "time": at(second), **members}
            if kind == "exchange.request":
                value["exchange"] = value["id"]
            self.entries.append(json.dumps(value, separators=(",", ":")))
            return position

        def issue(self, name, role, holder=None, expires=None, upstreams=None, **members):
            """A key that is a secret text; its ID."""
            secret = sha256(name.encode()).hex()
            act = {"key": "k_" + secret[:32], "role": role, "holder": holder or name, "sha256": secret}
            if expires is not None:
                act["expires"] = expires
            if upstreams is not None:
                act["upstreams"] = upstreams
            self.add("custody.key.issue", act=act, **members)
            return act["key"]

        def sign_with(self, pair, role="officer", holder="Cy"):
            """A key that signs; its ID."""
            name = "k_" + sha256(b"tabellion public key v1\n" + pair.public).hex()[:32]
            self.add("custody.key.issue", act={"key": name, "role": role, "holder": holder, "public": b64(pair.public)})
            return name

        def hold(self, **members):
            return ulid(self.add("custody.hold.place", **{"case": "C-1", **members}))

        def lift(self, hold, **members):
            act = {"hold": hold, **({"approval": members.pop("approval")} if "approval" in members else {})}
            return self.add("custody.hold.lift", act=act, **members)

        def ask(self, kind, details, **members):
            return self.add("custody.request", act={"kind": kind, "details": details}, **members)

        def approve(self, number, signer, pair, of, about, name=None, second=None, signed=None, **changed):
            lines = {
                "log": origin, "request": number, "nonce": ulid(number), "act": of,
                "details": "sha256:" + digest(of, about), "expires": at(1000), "key": signer, "reason": "good", **changed,
            }
            text = "tabellion approval v1\n" + "".join("%s %s\n" % line for line in lines.items())
            signature = pair.raw((signed or text).encode())
            return self.add("custody.approve", second, key=name or signer, act={"statement": text, "signature": b64(signature)})

    def one(name, why, history, *says):
        says = ["entry %d %s" % fault for fault in says]
        expect = "refuse" if says else "accept"
        case("custody", name, expect, why, origin=origin, entries=history.entries, says=says)

    def held():
        """A hold, a request to lift it, and a key that signs."""
        h = History()
        key = h.sign_with(SIGNER)
        hold = h.hold()
        details = {"hold": hold}
        return h, key, hold, details, h.ask("custody.hold.lift", details)

    ERASE = {"entries": [[1, 2], [4, 4]], "selection": {"case": "C-1"}, "basis": "GDPR Art. 17(1)(b)"}
    ERASED = {
        "case": "C-1", "basis": "GDPR Art. 17(1)(b)", "count": "3", "entries": "sha256:" + sha256(b"1-2\n4-4\n").hex(),
    }
    SIGNER, FORGER = Key("cy", bytes(range(160, 192))), Key("eve", bytes(range(192, 224)))

    # Keys.
    h = History()
    one("nothing", "no entries", h)
    h.add("custody.start", key=LOG.vkey)
    h.add("exchange.request")
    one("none", "nobody has a key, and a start names the log's", h)
    h = History()
    key = h.issue("bot", "writer")
    h.add("exchange.request", key=key)
    h.add("custody.key.revoke", act={"key": key})
    one("issued-used-revoked", "a key's life", h)
    h.add("exchange.request", key=key)
    one("key-revoked", "a key is used after it was revoked", h, (3, revoked))
    h.add("custody.key.revoke", act={"key": key})
    one("revoked-twice", "a key is revoked twice", h, (3, revoked), (4, "revokes a key that is not in force"))
    h = History()
    h.add("exchange.request", key="k_" + sha256(b"bot").hex()[:32])
    h.issue("bot", "writer")
    one("key-early", "a key is used before it was issued", h, (0, unissued))
    h = History()
    h.add("custody.key.revoke", act={"key": "k_x"})
    one("revoke-unissued", "a key is revoked that was never issued", h, (0, "revokes a key that is not in force"))
    h = History()
    key = h.issue("bot", "writer", expires=at(2))
    h.add("exchange.request", key=key, second=2)
    one("key-just-in-time", "a key is used in its last moment", h)
    h.add("exchange.request", key=key, second=3)
    one("key-expired", "a key is used a second later", h, (2, expired))
    h = History()
    key = h.issue("bot", "writer", expires=at(2))
    h.add("exchange.request", key=key)
    value = json.loads(h.entries[1])
    h.entries[1] = json.dumps({**value, "time": "today"}, separators=(",", ":"))
    one("key-untimed", "nobody can say whether the key had expired", h, (1, expired))
    h = History()
    key = h.issue("bot", "writer", upstreams=["one", "two"])
    h.add("exchange.request", key=key, upstream="two")
    one("upstream", "a key is used for one of its upstreams", h)
    elsewhere_sent = "uses a key that is not for this upstream"
    h.add("exchange.request", key=key, upstream="three")
    h.add("exchange.request", key=key)
    one("upstream-other", "a key is used for another, and for none that is said", h, (2, elsewhere_sent), (3, elsewhere_sent))
    h = History()
    h.issue("bot", "writer")
    h.issue("bot", "admin")
    one("key-twice", "a key is issued again, with another role", h, (1, "issues a key that there is already"))
    good = json.loads(h.entries[0])["act"]
    pair = {k: v for k, v in good.items() if k != "sha256"}
    for name, why, act in [
        ("empty", "what is issued is not said", {}),
        ("no-role", "without a role", {k: v for k, v in good.items() if k != "role"}),
        ("role", "with a role that there is not", {**good, "role": "king"}),
        ("no-holder", "of nobody", {k: v for k, v in good.items() if k != "holder"}),
        ("id", "under another ID than its own", {**good, "key": "k_" + "0" * 32}),
        ("neither", "without a hash", pair),
        ("both", "with a hash and a public key", {**good, "public": b64(SIGNER.public)}),
        ("public-short", "with a public key of 31 bytes", {**pair, "public": b64(SIGNER.public[:31])}),
        ("public-text", "with a public key that is no base64", {**pair, "public": "?"}),
        ("expires", "with an end that is no time", {**good, "expires": "soon"}),
    ]:
        h = History()
        h.add("custody.key.issue", act=act)
        one("issue-" + name, "a key is issued " + why, h, (0, malformed))

    # Roles: every kind by every role.
    for kind in sorted(may):
        for holder in roles:
            h = History()
            key = h.issue("key", holder)
            members, says = {"key": key}, []
            if kind in ("exchange.request", "custody.export", "custody.report"):
                pass
            elif kind == "custody.reveal":
                members["reveal"] = {"entry": 0, "bytes": 9}
            elif kind in ("custody.erase", "custody.expire"):
                members["erase"] = ERASE
            elif kind in ("case.open", "custody.hold.place"):
                members["case"] = "C-1"
            elif kind == "case.close":
                h.add("case.open", case="C-1")
                members["case"] = "C-1"
            elif kind == "custody.hold.lift":
                h.add("custody.policy.change", act={"approve": []})
                members["act"] = {"hold": h.hold()}
            elif kind == "custody.request":
                members["act"] = {"kind": "custody.erase", "details": {"exchange": "X"}}
            elif kind == "custody.key.issue":
                other = sha256(b"other").hex()
                members["act"] = {"key": "k_" + other[:32], "role": "writer", "holder": "O", "sha256": other}
            elif kind == "custody.key.revoke":
                members["act"] = {"key": h.issue("other", "writer")}
            elif kind == "custody.policy.change":
                members["act"] = {"approve": ["custody.erase"]}
            else:
                says = [forged]
            position = h.add(kind, **members)
            says = [text for text in ([role] if may[kind] != holder else []) + says]
            one("may-%s-%s" % (kind.replace(".", "-"), holder), "%s with a key of a %s" % (kind, holder), h, *[(position, text) for text in says])

    # Holds and cases.
    h = History()
    h.lift(ulid(7))
    one("lift-unplaced", "a hold is lifted that was not placed", h, (0, "lifts a hold that is not in force"), (0, needs))
    h = History()
    h.add("custody.hold.place")
    h.add("custody.hold.lift", act={})
    one("hold-of-nothing", "a hold is on nothing, and another is not named", h, (0, malformed), (1, malformed), (1, needs))
    h = History()
    for kind in ("case.open", "case.close", "case.open"):
        h.add(kind, case="C-1")
    one("case-again", "a case is opened, closed and opened again", h)
    h.add("case.open", case="C-1")
    h.add("case.close", case="C-2")
    h.add("case.close")
    one("case-state", "a case is opened that is open, and one closed that is not", h, (3, "opens a case that is open"), (4, "closes a case that is not open"), (5, malformed))

    # Approvals.
    kind = "custody.hold.lift"
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details)
    h.lift(hold, approval=approval, actor="root (uid 0)")
    one("approved", "a hold is lifted with an approval", h)
    h.hold()
    h.lift(hold, approval=approval)
    one("approval-used", "an approval is used twice", h, (6, "lifts a hold that is not in force"), (6, twice))
    h, key, hold, details, request = held()
    h.lift(hold)
    one("approval-missing", "a hold is lifted without one", h, (3, needs))
    h, key, hold, details, request = held()
    h.add("custody.policy.change", act={"approve": ["custody.erase"]})
    h.lift(hold)
    h.add("custody.erase", erase=ERASE)
    one("policy-changed", "other acts need one from now on", h, (5, needs))
    h, key, hold, details, request = held()
    approvals = [h.approve(request, key, SIGNER, kind, details), h.approve(request, key, SIGNER, kind, details, expires=at(2000))]
    h.add("custody.policy.change", act={"approve": ["custody.hold.lift"]})
    h.lift(hold, approval=approvals[0])
    h.hold()
    h.lift(ulid(len(h.entries) - 1), approval=approvals[1])
    one("approval-other", "an approval of lifting another hold", h, (8, elsewhere))
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details)
    h.add("custody.erase", act={"approval": approval, "details": details}, erase=ERASE)
    one("approval-other-kind", "an approval of another kind of act", h, (4, elsewhere))
    h, key, hold, details, request = held()
    h.add("custody.policy.change", act={"approve": ["custody.erase"]})
    request = h.ask("custody.erase", ERASED)
    approvals = [h.approve(request, key, SIGNER, "custody.erase", ERASED) for _ in range(2)]
    for approval in approvals:
        h.add("custody.erase", act={"approval": approval}, erase=ERASE)
    one("request-used", "two approvals of one request", h, (8, twice))
    for name, why, erase in [
        ("entries", "other entries are erased than was approved", {**ERASE, "entries": [[1, 2], [5, 6]]}),
        ("basis", "on another basis than was approved", {**ERASE, "basis": "another"}),
        ("selection", "of another case than was approved", {**ERASE, "selection": {"case": "C-2"}}),
    ]:
        h, key, hold, details, request = held()
        request = h.ask("custody.erase", ERASED)
        approval = h.approve(request, key, SIGNER, "custody.erase", ERASED)
        # What it says of itself does not count.
        h.add("custody.erase", act={"approval": approval, "details": ERASED}, erase=erase)
        one("erase-other-" + name, why, h, (5, elsewhere))
    for name, why, about, reveal, says in [
        ("whole", "an original", {"entry": "3", "what": "original"}, {"entry": 3, "bytes": 9}, []),
        ("salt", "a salt", {"entry": "3", "what": "salt"}, {"entry": 3, "bytes": 0, "salt": True}, []),
        ("both", "a message and its salt", {"entry": "3", "part": "1", "what": "original and salt"},
         {"entry": 3, "part": 1, "bytes": 9, "salt": True}, []),
        ("other-entry", "another original than was approved", {"entry": "3", "what": "original"}, {"entry": 4, "bytes": 9}, [elsewhere]),
        ("more", "more than the message that was approved", {"entry": "3", "part": "1", "what": "original"}, {"entry": 3, "bytes": 9}, [elsewhere]),
        ("original", "an original where the salt was approved", {"entry": "3", "what": "salt"}, {"entry": 3, "bytes": 9, "salt": True}, [elsewhere]),
    ]:
        h, key, hold, details, request = held()
        h.add("custody.policy.change", act={"approve": ["custody.reveal"]})
        approval = h.approve(h.ask("custody.reveal", about), key, SIGNER, "custody.reveal", about)
        h.add("custody.reveal", act={"approval": approval}, reveal=reveal)
        one("reveal-" + name, why, h, *[(6, text) for text in says])
    h, key, hold, details, request = held()
    h.lift(hold, approval=99)
    one("approval-unknown", "an approval that was never given", h, (3, unknown))
    h, key, hold, details, request = held()
    h.lift(hold, approval=request)
    one("approval-is-request", "the request itself", h, (3, unknown))
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details, expires=at(5))
    h.lift(hold, approval=approval, second=5)
    one("approval-just-in-time", "an approval is used in its last moment", h)
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details, expires=at(5))
    h.lift(hold, approval=approval, second=6)
    one("approval-expired", "an approval is used a second later", h, (4, late))
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details)
    h.add("custody.key.revoke", act={"key": key})
    h.lift(hold, approval=approval)
    one("approver-revoked", "the approver's key was revoked since", h, (5, late))
    h, key, hold, details, request = held()
    approval = h.approve(request, key, SIGNER, kind, details)
    h.lift(hold, approval=approval, actor="Cy (uid 1000)")
    one("approval-own", "by the one who acts, as the system calls them", h, (4, own))
    h, key, hold, details, request = held()
    acting = h.issue("cy's other key", "officer", holder="Cy")
    approval = h.approve(request, key, SIGNER, kind, details)
    h.lift(hold, approval=approval, key=acting)
    one("approval-own-key", "by the holder of the key that acts", h, (5, own))
    h, key, hold, details, request = held()
    acting = h.issue("bo", "officer", holder="Bo")
    approval = h.approve(request, key, SIGNER, kind, details)
    h.lift(hold, approval=approval, key=acting)
    one("approval-of-another", "by another officer", h)
    forgeries = {
        "signature": ("signed by somebody else", {"pair": FORGER}),
        "text": ("another text was signed", {"signed": "tabellion approval v1\n"}),
        "log": ("of another log", {"log": OTHER.name}),
        "nonce": ("of another request", {"nonce": ulid(77)}),
        "request": ("of what is no request", {"request": 1}),
        "act": ("of another kind of act", {"act": "custody.erase"}),
        "details": ("of other details", {"details": "sha256:" + digest(kind, {"hold": ulid(9)})}),
        "key": ("by a key that is not the entry's", {"name": "k_" + "0" * 32}),
        "expires": ("without an end", {"expires": "never"}),
        "long": ("for too long a time", {"expires": at(40 * 24 * 3600)}),
        "reason": ("with a line more", {"reason": "good\nlog x"}),
        "number": ("with a number spelt otherwise", {"request": "02"}),
    }
    for name, (why, changed) in forgeries.items():
        h, key, hold, details, request = held()
        changed = {"pair": SIGNER, **changed}
        approval = h.approve(request, key, changed.pop("pair"), kind, details, **changed)
        h.lift(hold, approval=approval)
        first = [(3, unissued)] if name == "key" else []
        one("forged-" + name, "an approval " + why, h, *first, (3, forged), (4, unknown))
    h = History()
    key = h.issue("officer", "officer")
    hold = h.hold()
    request = h.ask(kind, {"hold": hold})
    h.approve(request, key, SIGNER, kind, {"hold": hold})
    one("forged-no-public", "a key that is a secret text cannot sign", h, (3, forged))
    h = History()
    weak = Key("weak", bytes(32))
    weak.public = bytes([1]) + bytes(31)
    key = h.sign_with(weak)
    hold = h.hold()
    request = h.ask(kind, {"hold": hold})
    position = h.approve(request, key, SIGNER, kind, {"hold": hold})
    value = json.loads(h.entries[position])
    # R is the neutral element and S is 0: right for every text.
    value["act"]["signature"] = b64(bytes([1]) + bytes(63))
    h.entries[position] = json.dumps(value, separators=(",", ":"))
    one("forged-small-order", "the neutral element signs everything", h, (3, forged))
    h, key, hold, details, request = held()
    h.ask(kind, {"a=b": "c"})
    h.ask(kind, {"a": "b\nc"})
    h.add("custody.request", act={"details": {"a": "b"}})
    one("request-malformed", "requests of what cannot be named", h, (3, malformed), (4, malformed), (5, malformed))


def commitments():
    key, entry = bytes(range(200, 232)), "01JDA5N0000000000000000000"
    for n in (0, 1, 12):
        node = key
        for character in entry:
            node = sha256(node + bytes(["0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)]))
        salt = sha256(node + struct.pack(">I", n))
        data = b"exactly these bytes"
        value = sha256(salt + data)
        def commitment(suffix, expect, why, n=n, data=data, salt=salt):
            case("commitment", "%d%s" % (n, suffix), expect, why, key=key.hex(), entry=entry, n=n, bytes=data.hex(), salt=salt.hex(), commitment=value.hex())
        commitment("", "accept", "salt and commitment")
        commitment("-bytes", "refuse", "other bytes", data=flip(data, 0))
        commitment("-salt", "refuse", "another salt", salt=flip(salt, 0))
        commitment("-n", "refuse", "another number", n=n + 1)


# OpenTimestamps: the format of python-opentimestamps.

OTS_MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
OTS_PENDING, OTS_BITCOIN = bytes.fromhex("83dfe30d2ef90c8e"), bytes.fromhex("0588960d73d71901")


def varuint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def varbytes(data):
    return varuint(len(data)) + data


def block(root, bits=0x207FFFFF, worked=True):
    """A header that has, or has not, the hash that its bits ask for."""
    target = (bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3)
    for nonce in range(1 << 20):
        header = struct.pack("<I32s32sIII", 4, bytes(32), root, 1764000000, bits, nonce)
        if (int.from_bytes(sha256(sha256(header)), "little") <= target) == worked:
            return header
    raise AssertionError("no nonce")


def ots():
    file = b"log.example/vectors\n7\n" + b64(bytes(32)).encode() + b"\n"
    head = OTS_MAGIC + b"\1\x08" + sha256(file)
    bitcoin = b"\x00" + OTS_BITCOIN + varbytes(varuint(900000))
    pending = b"\x00" + OTS_PENDING + varbytes(varbytes(b"https://calendar.example"))
    unknown = b"\x00" + bytes(range(8)) + varbytes(b"said by others")
    steps = b"\xf0" + varbytes(b"behind") + b"\x08" + b"\xf1" + varbytes(b"before") + b"\x08\x08"
    root = sha256(sha256(b"before" + sha256(sha256(file) + b"behind")))
    header = block(root)

    def one(name, expect, why, proof, header=header, work=1, file=file):
        more = {"time": 1764000000} if expect == "accept" else {}
        case("ots", name, expect, why, proof=proof.hex(), file=file.hex(), header=header.hex(), work=work, **more)

    one("bitcoin", "accept", "a Bitcoin block has it", head + steps + bitcoin)
    one("branches", "accept", "others vouch for it beside the block", head + b"\xff" + pending + b"\xff" + unknown + steps + bitcoin)
    one("at-the-end", "accept", "a promise beside the block", head + steps + b"\xff" + pending + bitcoin)
    odd = sha256(bytes(reversed(sha256(file))).hex().encode())
    one("reverse-hexlify", "accept", "backwards, and in hexadecimal", head + b"\xf2\xf3\x08" + bitcoin, block(odd))
    sha1 = hashlib.sha1(sha256(file)).digest()
    one("sha1", "accept", "through SHA-1", head + b"\x02\x08" + bitcoin, block(sha256(sha1)))
    one("deep", "accept", "256 operations", head + b"\xf2" * 256 + bitcoin, block(sha256(file)))
    one("too-deep", "refuse", "257 operations", head + b"\xf2" * 257 + bitcoin, block(bytes(reversed(sha256(file)))))
    one("other-file", "refuse", "another file", head + steps + bitcoin, file=file + b"\n")
    one("other-block", "refuse", "a block with another root", head + steps + bitcoin, block(sha256(b"another")))
    one("unworked", "refuse", "a header without its work", head + steps + bitcoin, block(root, worked=False))
    one("too-easy", "refuse", "a header that took less work than is demanded", head + steps + bitcoin, work=64)
    one("pending", "refuse", "a promise alone", head + steps + pending)
    one("unknown", "refuse", "an attestation of an unknown kind", head + steps + unknown)
    one("nothing", "refuse", "no attestation", head)
    one("cut", "refuse", "the last byte is missing", (head + steps + bitcoin)[:-1])
    one("trailing", "refuse", "a byte behind the proof", head + steps + bitcoin + b"\0")
    one("magic", "refuse", "another file format", flip(head, 0) + steps + bitcoin)
    one("version", "refuse", "a version that does not exist", head.replace(b"\x94\1\x08", b"\x94\2\x08") + steps + bitcoin)
    one("file-hash", "refuse", "the file by its SHA-1", OTS_MAGIC + b"\1\x02" + hashlib.sha1(file).digest() + bitcoin)
    one("keccak", "refuse", "an operation that is not supported", head + b"\x67" + bitcoin)
    one("empty-operand", "refuse", "nothing is appended", head + b"\xf0\0" + bitcoin, block(sha256(file)))
    one("long-operand", "refuse", "an operand of 4097 bytes", head + b"\xf0" + varbytes(bytes(4097)) + b"\x08" + bitcoin)
    one("long-message", "refuse", "a message of more than 4096 bytes", head + b"\xf3" * 7 + b"\xf0" + varbytes(b"x") + b"\x08" + bitcoin)
    loose = b"\x00" + OTS_BITCOIN + varbytes(varuint(900000)[:-1] + bytes([varuint(900000)[-1] | 0x80, 0]))
    one("loose-number", "refuse", "a height in more bytes than it needs", head + steps + loose)
    one("long-height", "refuse", "bytes behind the height", head + steps + b"\x00" + OTS_BITCOIN + varbytes(varuint(5) + b"\0"))
    one("uri", "refuse", "a calendar's address with a space", head + b"\xff\x00" + OTS_PENDING + varbytes(varbytes(b"a b")) + steps + bitcoin)


# COSE receipts: RFC 9942, RFC 9052, and CBOR as RFC 8949, section 4.2 has it.


class Tag:
    def __init__(self, number, value):
        self.number, self.value = number, value


def cbor(value):
    def head(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        size, mark = next((size, mark) for size, mark in ((1, 24), (2, 25), (4, 26), (8, 27)) if n < 1 << 8 * size)
        return bytes([major << 5 | mark]) + n.to_bytes(size, "big")

    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    return head(6, value.number) + cbor(value.value)


def cose():
    leaves = [leaf_hash(b'{"n":%d}' % n) for n in range(7)]
    entry, index = b'{"n":4}', 4
    root, hashes = mth(leaves), path(index, leaves)
    claims = {1: LOG.name, 2: "01JDA"}
    protected = {1: -8, 4: LOG.id, 15: claims, 395: 1}
    proof = cbor([7, index, hashes])
    vdp = {396: {-1: [proof]}}

    def sign1(protected=protected, unprotected=vdp, signed=root, payload=None, key=LOG, tag=18, signature=None):
        protected = cbor(protected)
        signature = signature or key.raw(cbor(["Signature1", protected, b"", signed]))
        message = [protected, unprotected, payload, signature]
        return cbor(Tag(tag, message) if tag else message)

    def one(name, expect, why, receipt, entry=entry, key=LOG, **more):
        if expect == "accept":
            more = {"size": 7, "index": index, **more}
        case("cose", name, expect, why, receipt=receipt.hex(), entry=entry.decode(), vkey=key.vkey, **more)

    one("receipt", "accept", "a receipt", sign1())
    one("no-claims", "accept", "without claims and key id, which RFC 9942 does not demand", sign1({1: -8, 395: 1}))
    one("more-headers", "accept", "headers that mean nothing here", sign1({**protected, "x": 1}, {**vdp, 999: [1, {}]}))
    one("both-proofs", "accept", "a consistency proof beside it", sign1(unprotected={396: {-2: [b"not looked at"], -1: [proof]}}))
    two = {396: {-1: [cbor([2, 1, [leaves[0]]])]}}
    pair = sign1(unprotected=two, signed=mth(leaves[:2]))
    one("two-entries", "accept", "the second of two entries", pair, entry=b'{"n":1}', size=2, index=1)
    alone = sign1(unprotected={396: {-1: [cbor([1, 0, []])]}}, signed=leaves[0])
    one("one-entry", "refuse", "a tree of one entry: a path without hashes is not in the grammar", alone, entry=b'{"n":0}')
    one("other-entry", "refuse", "another entry", sign1(), entry=b'{"n":5}')
    one("other-key", "refuse", "another key's", sign1(), key=OTHER)
    one("forged", "refuse", "signed by somebody else in the log's name", sign1(key=IMPOSTOR))
    one("signature", "refuse", "a bit of the signature is changed", flip(sign1(), -1))
    one("untagged", "refuse", "COSE_Sign1 without its tag", sign1(tag=None))
    one("other-tag", "refuse", "another tag", sign1(tag=98))
    one("algorithm", "refuse", "it says that it is signed with ES256", sign1({**protected, 1: -7}))
    one("no-algorithm", "refuse", "it does not say how it is signed", sign1({395: 1}))
    one("structure", "refuse", "another verifiable data structure", sign1({**protected, 395: 2}))
    one("no-structure", "refuse", "no verifiable data structure", sign1({1: -8}))
    one("unprotected-structure", "refuse", "the structure is not signed", sign1({1: -8}, {395: 1, **vdp}))
    one("critical", "refuse", "a critical header", sign1({**protected, 2: ["x"], "x": 1}))
    one("attached", "refuse", "the root is in it", sign1(payload=root))
    one("note", "refuse", "signed as a checkpoint is", sign1(signature=LOG.raw(checkpoint_text(LOG.name, 7, root).encode())))
    one("no-proof", "refuse", "no proof", sign1(unprotected={}))
    one("consistency-only", "refuse", "a proof of something else", sign1(unprotected={396: {-2: [proof]}}))
    one("two-proofs", "refuse", "two proofs, of which the signature can be of one", sign1(unprotected={396: {-1: [proof, proof]}}))
    one("twice", "refuse", "the same label twice", sign1().replace(b"\xa1\x20\x81", b"\xa2\x20\x80\x20\x81"))
    one("index", "refuse", "another index", sign1(unprotected={396: {-1: [cbor([7, 5, hashes])]}}))
    one("beyond", "refuse", "an index beyond the tree", sign1(unprotected={396: {-1: [cbor([7, 7, hashes])]}}))
    one("negative", "refuse", "a negative index", sign1(unprotected={396: {-1: [cbor([7, -1, hashes])]}}))
    one("short-path", "refuse", "a hash is missing", sign1(unprotected={396: {-1: [cbor([7, index, hashes[:-1]])]}}))
    one("short-hash", "refuse", "a hash of 31 bytes", sign1(unprotected={396: {-1: [cbor([7, index, [h[:31] for h in hashes]])]}}))
    one("proof-trailing", "refuse", "a byte behind the proof", sign1(unprotected={396: {-1: [proof + b"\0"]}}))
    one("cut", "refuse", "the last byte is missing", sign1()[:-1])
    one("trailing", "refuse", "a byte behind the receipt", sign1() + b"\0")

    def statement(payload=entry, signed=entry, receipts=None, key=LOG):
        unprotected = {394: [sign1()] if receipts is None else receipts}
        return sign1({1: -8, 3: 50, 15: claims}, unprotected, signed, payload, key)

    one("statement", "accept", "a statement with its receipt", statement())
    one("statement-among-others", "accept", "with another log's receipt before ours", statement(receipts=[sign1(key=OTHER), sign1()]))
    one("statement-payload", "refuse", "a statement of another entry", statement(payload=b'{"n":5}', signed=b'{"n":5}'))
    one("statement-changed", "refuse", "another entry under the same signature", statement(payload=b'{"n":5}'))
    one("statement-by-others", "refuse", "a statement that the log did not sign", statement(key=OTHER))
    one("statement-alone", "refuse", "a statement without a receipt", statement(receipts=[]))


def main():
    kinds = [keys, notes, checkpoints, cosignatures, paths, trees, bundles, packs, proofs, entries, records, custody, commitments, ots, cose]
    for name in os.listdir(HERE):
        if os.path.isdir(os.path.join(HERE, name)) and not name.startswith("_") and name in OURS:
            shutil.rmtree(os.path.join(HERE, name))
    for make in kinds:
        make()
    for kind, count in sorted(COUNT.items()):
        print("%-12s %3d accept %3d refuse" % (kind, count["accept"], count["refuse"]))


# The folders that this writes, and therefore empties first.
OURS = "key note checkpoint cosignature path root inclusion consistency bundle pack body proof entry record custody commitment ots cose".split()

if __name__ == "__main__":
    main()
