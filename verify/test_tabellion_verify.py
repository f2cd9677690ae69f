"""Tests of the reference verifier: `python3 -m unittest` in this folder.

The logs are written by the small writer below, from docs/format.md alone. The
vectors are those of ../vectors.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vectors")]

import make  # noqa: E402  (the vectors' own definitions: tree, keys, notes)
import tabellion_verify as verify  # noqa: E402

LOG = make.Key("log.example/reference", bytes(range(1, 33)))
OTHER = make.Key("log.example/reference", bytes(range(2, 34)))
WITNESS = make.Key("witness.example/w1", bytes(range(3, 35)), kind=4)
TIME = "2026-11-22T10:00:00.123456Z"


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def hexhash(data):
    return hashlib.sha256(data).hexdigest()


class Writer:
    """Writes a log. A batch of entries at a time, with its content pack."""

    def __init__(self):
        self.entries, self.packs, self.seen = [], {}, set()
        self.pending, self.start = [], 0
        self.sealed_packs, self.sealing = {}, []

    def ulid(self):
        return "01JDA5N%019d" % len(self.entries)

    def part(self, data):
        if data not in self.seen:
            self.seen.add(data)
            self.pending.append(data)
        return {"sha256": hexhash(data), "bytes": len(data)}

    def seal(self, data):
        if data not in self.seen:
            self.seen.add(data)
            self.sealing.append(data)
        return hexhash(data)

    def content(self, *messages, manifest=False, sealed=()):
        parts = [m.encode() for m in messages]
        body = b'{"messages":[%s]}' % b",".join(parts)
        frame = b'{"messages":[%s]}' % b",".join([b"\0"] * len(parts))
        listed = [{"role": "frame", **self.part(frame)}] + [{"role": "user", **self.part(p)} for p in parts]
        content = {"sha256": hexhash(body), "bytes": len(body)}
        if manifest:
            lists = {"content": listed, "original": [hexhash(b"o")] * len(parts)}
            if sealed:
                lists["sealed"] = [self.seal(piece) for piece in sealed]
            content["manifest"] = self.part(compact(lists))["sha256"]
        else:
            content["parts"] = listed
        return content

    def add(self, **members):
        self.entries.append(compact({"v": 1, **members}))

    def exchange(self, *messages, answer="fine", sealed=(), **options):
        identity = self.ulid()
        original = {"bytes": 3, "commitment": hexhash(b"c")}
        if options.get("manifest"):
            options["sealed"] = sealed
        elif sealed:
            original["sealed"] = [self.seal(piece) for piece in sealed]
        self.add(kind="exchange.request", id=identity, exchange=identity, time=TIME, content=self.content(*messages, **options), original=original)
        self.add(kind="exchange.response", id=self.ulid(), exchange=identity, time=TIME, content=self.content('"%s"' % answer), outcome="complete", status=200)

    def batch(self):
        if self.pending:
            self.packs[self.start] = make.pack(self.pending)
        if self.sealing:
            self.sealed_packs[self.start] = make.pack(self.sealing)
        self.sealing = []
        self.pending, self.start = [], len(self.entries)

    def files(self, size=None, partials=()):
        """Every file of the log at a size; with the partial tiles of older
        sizes, if they are asked for."""
        self.batch()
        size = len(self.entries) if size is None else size
        leaves = [make.leaf_hash(e) for e in self.entries[:size]]
        text = make.checkpoint_text(LOG.name, size, make.mth(leaves))
        files = {"log.vkey": LOG.vkey.encode() + b"\n", "log/checkpoint": (LOG.note(text) + WITNESS.line(text, 1700000000)).encode()}
        for start, data in self.packs.items():
            if start < size:
                files["content/" + number(start)] = data
        for start, data in self.sealed_packs.items():
            if start < size:
                files["sealed/" + number(start)] = data
        for s in [size, *partials]:
            for first in range(0, s, 256):
                suffix = ".p/%d" % (s - first) if s - first < 256 else ""
                files["log/tile/entries/%s%s" % (number(first // 256), suffix)] = make.bundle(self.entries[first : min(first + 256, s)])
            level, row = 0, leaves[:s]
            while row:
                for first in range(0, len(row), 256):
                    tile = row[first : first + 256]
                    suffix = ".p/%d" % len(tile) if len(tile) < 256 else ""
                    files["log/tile/%d/%s%s" % (level, number(first // 256), suffix)] = b"".join(tile)
                row = [make.mth(row[n : n + 256]) for n in range(0, len(row) // 256 * 256, 256)]
                level += 1
        return files


def number(n):
    assert n < 1000
    return "%03d" % n


@functools.lru_cache(None)
def small():
    log = Writer()
    log.add(kind="custody.start", id=log.ulid(), time=TIME)
    log.batch()
    log.exchange('"a"', '"b"', sealed=[b"sealed a", b"sealed b"])
    log.batch()
    log.exchange('"a"', '"b"', '"c"', manifest=True, sealed=[b"sealed b", b"sealed c"])
    return log.files()


def large_writer():
    log = Writer()
    log.add(kind="custody.start", id=log.ulid(), time=TIME)
    history = []
    for n in range(170):
        history = history[-3:] + ['"message %d"' % n]
        log.exchange(*history, answer="answer %d" % (n % 7), manifest=n % 50 == 49)
        if n % 3 == 0:
            log.batch()
    log.add(kind="exchange.request", id=log.ulid(), exchange=log.ulid(), time=TIME, content={"omitted": "binary"})
    return log


@functools.lru_cache(None)
def large():
    return large_writer().files()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, files):
        data = os.path.join(self.folder, "data")
        shutil.rmtree(data, ignore_errors=True)
        os.makedirs(data)
        for path, content in files.items():
            target = os.path.join(data, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(content)
        return data

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def run_main(self, *arguments):
        """Exit status and what was said."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = verify.main(list(arguments))
            except SystemExit as exit:
                status = exit.code
        return status, out.getvalue() + err.getvalue()

    def check(self, files, *arguments, vkey=LOG.vkey):
        vkey = ["--vkey", vkey] if vkey else []
        return self.run_main(self.write(files), *vkey, *arguments)

    def verifies(self, files, *arguments, **options):
        status, said = self.check(files, *arguments, **options)
        self.assertEqual(status, 0, said)
        return said

    def refuses(self, files, says, *arguments, **options):
        status, said = self.check(files, *arguments, **options)
        self.assertEqual(status, 1, "%s was not refused: %s" % (says, said))
        self.assertIn(says, said)
        return said


class Directories(Case):
    def test_verifies_what_is_right(self):
        self.assertIn("verified", self.verifies(small()))
        said = self.verifies(large(), "--witness", WITNESS.vkey, "--json")
        result = json.loads(said)
        self.assertEqual((result["size"], result["exchanges"], result["open_exchanges"]), (342, 171, 1))
        self.assertEqual(result["cosignatures"], {WITNESS.name: 1700000000})
        self.assertTrue(result["verified"] and not result["problems"])

    def test_says_when_the_key_came_from_the_log(self):
        self.assertIn("pass --vkey", self.verifies(small(), vkey=None))

    def test_verifies_an_empty_log(self):
        self.verifies(Writer().files())

    def test_verifies_around_full_tiles(self):
        for size in (1, 2, 255, 256, 257):
            bare = Writer()
            for _ in range(size):
                bare.add(kind="custody.start", id=bare.ulid(), time=TIME)
            self.verifies(bare.files())

    def test_verifies_partial_tiles_of_older_sizes_and_refuses_wrong_ones(self):
        files = large_writer().files(partials=[1, 100, 256, 300])
        self.verifies(files)
        for path in files:
            if ".p/" in path:
                changed = dict(files)
                changed[path] = make.flip(files[path], len(files[path]) // 2)
                self.refuses(changed, path)
        changed = dict(files)
        del changed["log/tile/0/000.p/100"], changed["log/tile/entries/000.p/100"]
        self.verifies(changed)

    def test_verifies_a_log_that_was_not_published_yet(self):
        log = large_writer()
        files = log.files()
        # Packs and entries of the last batches are there; the checkpoint,
        # which always ends with a batch, is not.
        older = log.files(size=max(n for n in log.packs if n <= 300))
        self.verifies(older)
        mixed = {**files, **older}
        said = self.verifies(mixed)
        self.assertIn("beyond", said)
        mixed["log/tile/0/001.p/86"] = make.flip(files["log/tile/0/001.p/86"], 0)
        self.refuses(mixed, "log/tile/0/001.p/86")

    def test_a_full_tile_stands_in_for_a_partial_one(self):
        log = Writer()
        for _ in range(512):
            log.add(kind="custody.start", id=log.ulid(), time=TIME)
        files = {**log.files(), **log.files(size=300)}
        for path in ("log/tile/0/001.p/44", "log/tile/entries/001.p/44"):
            del files[path]
        self.verifies(files)
        files["log/tile/entries/001"] = make.flip(files["log/tile/entries/001"], 9)
        self.refuses(files, "log/tile/entries/001")

    def test_every_flipped_bit_is_refused(self):
        files = small()
        data = self.write(files)
        for path, content in files.items():
            target = os.path.join(data, path)
            # The witness's line may change; nobody asked about that witness.
            end = content.rfind("\u2014 ".encode()) if path == "log/checkpoint" else len(content)
            for byte in range(end):
                with open(target, "r+b") as f:
                    f.seek(byte)
                    f.write(bytes([content[byte] ^ 1 << byte % 8]))
                status, said = self.run_main(data, "--vkey", LOG.vkey)
                self.assertEqual(status, 1, "%s, byte %d: %s" % (path, byte, said))
                with open(target, "r+b") as f:
                    f.seek(byte)
                    f.write(content[byte : byte + 1])
        self.assertEqual(self.run_main(data, "--vkey", LOG.vkey)[0], 0)

    def test_every_cut_is_refused(self):
        for path, content in small().items():
            for cut in range(0, len(content), 7):
                changed = {**small(), path: content[:cut]}
                if path == "log/checkpoint" and verify_alone(content[:cut]):
                    continue
                self.refuses(changed, path.rsplit("/", 1)[0])

    def test_every_inserted_byte_is_refused(self):
        for path, content in small().items():
            end = content.rfind("\u2014 ".encode()) if path == "log/checkpoint" else len(content)
            for at in [*range(0, end, 11), end]:
                changed = {**small(), path: content[:at] + b"\0" + content[at:]}
                self.assertEqual(self.check(changed)[0], 1, "%s at %d" % (path, at))

    def test_every_deleted_file_is_refused(self):
        for log in (small(), large()):
            for path in log:
                changed = dict(log)
                del changed[path]
                self.refuses(changed, "REFUSED")

    def test_every_pair_of_swapped_files_is_refused(self):
        log = small()
        for a in log:
            for b in log:
                if a < b:
                    self.refuses({**log, a: log[b], b: log[a]}, "REFUSED")

    def test_stray_files_are_refused(self):
        for path in ("log/x", "log/checkpoint.old", "log/tile/0/1", "log/tile/0/000.tmp", "log/tile/entries/x000/000", "log/tile/64/000",
                     "log/tile/0/000.p/0", "log/tile/8/000", "content/1", "content/000.p/1", "content/x000/002", "sealed/1", "sealed/x"):
            self.refuses({**small(), path: b"x"}, path)
        self.refuses({**small(), "content/004": b""}, "content/004: is empty")
        self.assertIn("notes.txt", self.verifies({**small(), "notes.txt": b"x", "wal/0": b"x", "index/a": b"x"}))

    def test_sealed_pieces_are_there_or_erased(self):
        def log(*erasures, first=False):
            log = Writer()
            erase = lambda: [log.add(kind="custody.erase", id=log.ulid(), time=TIME, erase={"entries": ranges}) for ranges in erasures]
            if first:
                erase()
            log.batch()
            log.exchange('"a"', sealed=[b"sealed a", b"sealed b"])
            log.batch()
            log.exchange('"b"', manifest=True, sealed=[b"sealed b", b"sealed c"])
            if not first:
                erase()
            return log.files()

        def pruned(files):
            return {path: data for path, data in files.items() if not path.startswith("sealed/")}

        result = json.loads(self.verifies(log([[0, 0]], [[0, 0], [2, 2]]), "--json"))
        self.assertEqual((result["sealed"], result["erased"]), (3, 2))
        self.verifies(pruned(log([[0, 2]])))
        self.refuses(pruned(log()), "names the sealed piece %s, which is in no pack" % hexhash(b"sealed a"))
        said = self.refuses(pruned(log([[0, 0]])), "REFUSED: entry 2")
        self.assertNotIn("REFUSED: entry 0", said)
        self.refuses(pruned(log([[1, 3]], first=True)), "which is in no pack")
        self.refuses({**log(), "sealed/003": make.pack([b"nobody's"])}, "is named by no entry")
        self.refuses({**log(), "sealed/001": make.pack([b"sealed c"])}, "is there twice")
        moved = log()
        moved["sealed/003"] = moved.pop("sealed/002")
        self.refuses(moved, "in another batch")
        for ranges in ([], [[1, 0]], [[0, 1], [2, 3]], [[2, 2], [0, 0]], [[0]], [0, 1]):
            self.refuses(log(ranges), "REFUSED")

    def test_content_is_there_or_expired(self):
        def log(*said, kind="custody.expire", first=False, again=False):
            log = Writer()
            say = lambda: [log.add(kind=kind, id=log.ulid(), time=TIME, erase={"entries": ranges}) for ranges in said]
            if first:
                say()
            log.batch()
            log.exchange('"a"', '"b"', answer="yes", manifest=True)
            log.batch()
            log.exchange('"b"', answer="no")
            if not first:
                say()
            log.batch()
            if again:
                log.seen -= {b'"a"'}
                log.exchange('"a"', answer="yes")
            return log.files()

        def without(files, *gone):
            kept = {}
            for path, data in files.items():
                if path.startswith("content/"):
                    left = [part for part in parts(data) if part not in gone]
                    if not left:
                        continue
                    data = make.pack(left)
                kept[path] = data
            return kept

        def pruned(files):
            """Without what the first exchange alone names; of its three parts of a request, it has "b" in common."""
            frame = b'{"messages":[\0,\0]}'
            return without(files, frame, b'"a"', b'"yes"')

        whole = json.loads(self.verifies(log([[0, 1]]), "--json"))
        self.assertEqual((whole["expired"], whole["removed"]), (2, 0))
        said = self.verifies(pruned(log([[0, 0]], [[0, 1]])))
        self.assertIn("content of 2 entries was removed, as entries 4, 5 say (retention); its hashes", said)
        result = json.loads(self.verifies(pruned(log([[0, 1]])), "--json"))
        self.assertEqual((result["expired"], result["removed"], result["erased"]), (2, 2, 0))
        # Whatever is absent and did not expire.
        self.refuses(pruned(log()), "entry 0: content part 0: part")
        said = self.refuses(pruned(log([[0, 0]])), "entry 1: content part 1: part %s is in no pack" % hexhash(b'"yes"'))
        self.assertNotIn("entry 0", said)
        self.refuses(pruned(log([[0, 1]], kind="custody.erase")), "is in no pack")
        self.refuses(pruned(log([[0, 2]], first=True)), "is in no pack")
        self.refuses(without(pruned(log([[0, 1]])), b'"b"'), "entry 2: content part 1: part %s is in no pack" % hexhash(b'"b"'))
        # A manifest stays.
        manifest = next(part for part in parts(log()["content/000"]) if b'"role"' in part)
        self.refuses(without(log([[0, 1]]), manifest), "part %s is in no pack" % hexhash(manifest))
        # What is left is still checked.
        for path, data in pruned(log([[0, 1]])).items():
            if path.startswith("content/"):
                for byte in range(0, len(data), 5):
                    self.refuses({**pruned(log([[0, 1]])), path: make.flip(data, byte)}, "REFUSED")
        # What was stored again later is not what expired; the pack of the first exchange has no "a" then.
        again = log([[0, 1]], again=True)
        again["content/000"] = make.pack([part for part in parts(again["content/000"]) if part != b'"a"'])
        self.assertIn("content of 1 entries was removed", self.verifies(again))
        living = log([[1, 1]], again=True)
        living["content/000"] = again["content/000"]
        self.refuses(living, "entry 0: content part 1: part %s is in content/005, where it was not first named" % hexhash(b'"a"'))

    def test_ranges_are_the_entries_that_went_in(self):
        pairs = [(first, last) for first in range(6) for last in range(first, 6)]
        for a in pairs:
            for b in pairs:
                ranges = verify.Ranges([a, b])
                these = {n for first, last in (a, b) for n in range(first, last + 1)}
                self.assertEqual((list(ranges), len(ranges)), (sorted(these), len(these)))
                for c in pairs:
                    left = these - set(range(c[0], c[1] + 1))
                    self.assertEqual(list(ranges.without(verify.Ranges([c]))), sorted(left))
                    self.assertEqual(list(verify.Ranges([c]).without(ranges)), sorted(set(range(c[0], c[1] + 1)) - these))

    def test_links_are_refused(self):
        # Also one that leads to the right bytes: they may be others tomorrow.
        for path in small():
            if path not in ("log.vkey", "log/checkpoint"):
                data = self.write(small())
                os.rename(os.path.join(data, path), os.path.join(self.folder, "elsewhere"))
                os.symlink(os.path.join(self.folder, "elsewhere"), os.path.join(data, path))
                status, said = self.run_main(data, "--vkey", LOG.vkey)
                self.assertEqual((status, "%s: is not a plain file" % path in said), (1, True), said)

    def test_swapped_and_removed_entries_are_refused(self):
        log = large_writer()
        files = log.files()
        a, b = log.entries[10], log.entries[11]
        changed = list(log.entries)
        changed[10], changed[11] = b, a
        self.refuses({**files, "log/tile/entries/000": make.bundle(changed[:256])}, "entry 10")
        self.refuses({**files, "log/tile/entries/000": make.bundle(log.entries[:255])}, "log/tile/entries/000")
        again = log.entries[:11] + log.entries[10:255]
        self.refuses({**files, "log/tile/entries/000": make.bundle(again)}, "entry 11")

    def test_other_keys_are_refused(self):
        self.refuses(small(), "log.vkey", vkey=OTHER.vkey)
        self.refuses(large(), "is not signed by", vkey=OTHER.vkey)
        self.assertEqual(self.check(small(), vkey=WITNESS.vkey)[0], 2)

    def test_a_signed_checkpoint_of_another_tree_is_refused(self):
        other = hashlib.sha256(b"x").digest()
        for size in (0, 4, 5, 6, 300):
            note = LOG.note(make.checkpoint_text(LOG.name, size, other)).encode()
            self.refuses({**small(), "log/checkpoint": note}, "do not have the root")
        # The size of a checkpoint alone must not keep the verifier busy.
        note = LOG.note(make.checkpoint_text(LOG.name, 2**64 - 1, other)).encode()
        self.refuses({**small(), "log/checkpoint": note}, "is missing")

    def test_a_log_that_was_cut_back_verifies_unless_somebody_kept_a_checkpoint(self):
        log = large_writer()
        newer, start = log.files(), max(n for n in log.packs if n <= 300)
        older = log.files(size=start)
        kept = self.file("kept", newer["log/checkpoint"])
        self.verifies(older)  # a log alone cannot show this
        self.refuses(older, "older checkpoint", "--checkpoint", kept)
        kept = self.file("kept", older["log/checkpoint"])
        self.verifies(newer, "--checkpoint", kept)
        # Nor that it was written anew, by whoever has its key.
        again = large_writer()
        again.entries[5] = again.entries[5].replace(b'"status":200', b'"status":201').replace(TIME.encode(), TIME.encode()[:-2] + b"7Z")
        again = again.files()
        self.verifies(again)
        self.refuses(again, "does not extend", "--checkpoint", kept)


def verify_alone(note):
    try:
        verify.verify_checkpoint(note, verify.VerifierKey(LOG.vkey))
        return True
    except verify.Refused:
        return False


class Contents(Case):
    """Logs that are signed in order, and whose contents are not."""

    def build(self, change):
        log = Writer()
        log.add(kind="custody.start", id=log.ulid(), time=TIME)
        log.batch()
        log.exchange('"a"', '"b"')
        log.batch()
        log.exchange('"a"', '"c"')
        log.batch()
        change(log)
        return log.files()

    def edit(self, log, position, change):
        entry = json.loads(log.entries[position])
        change(entry)
        log.entries[position] = compact(entry)

    def test_the_unchanged_one_verifies(self):
        self.verifies(self.build(lambda log: None))

    def refuses_edit(self, position, change, says):
        self.refuses(self.build(lambda log: self.edit(log, position, change)), says)

    def test_lists_of_parts_are_held_against_the_body(self):
        self.refuses_edit(1, lambda e: e["content"]["parts"].reverse(), "not a frame")
        self.refuses_edit(1, lambda e: e["content"]["parts"].append(e["content"]["parts"].pop(1)), "do not make the body")
        self.refuses_edit(1, lambda e: e["content"]["parts"].pop(), "the frame has room for 2 parts")
        self.refuses_edit(1, lambda e: e["content"].update(bytes=1), "do not make the body")
        self.refuses_edit(1, lambda e: e["content"].update(sha256=hexhash(b"")), "do not make the body")
        self.refuses_edit(1, lambda e: e["content"]["parts"][1].update(bytes=9), "content part 1: part")
        self.refuses_edit(1, lambda e: e["content"]["parts"][1].update(sha256=hexhash(b"")), "is in no pack")
        self.refuses_edit(1, lambda e: e["original"].update(parts=[hexhash(b"")]), "2 parts have 1 commitments")

    def test_packs_are_held_against_the_entries(self):
        def twice(log):
            log.packs[3] += make.pack([b'"a"'])
        self.refuses(self.build(twice), "in the content twice")
        def unnamed(log):
            log.packs[3] += make.pack([b"nobody's"])
        self.refuses(self.build(unnamed), "named by no entry")
        def late(log):  # the part of entry 1 in the pack of entry 3
            log.packs[1], log.packs[3] = make.pack([b for b in parts(log.packs[1]) if b != b'"b"']), log.packs[3] + make.pack([b'"b"'])
        self.refuses(self.build(late), "not first named")
        def early(log):  # the part of entry 3 in the pack of entry 1
            log.packs[3], log.packs[1] = make.pack([b for b in parts(log.packs[3]) if b != b'"c"']), log.packs[1] + make.pack([b'"c"'])
        self.refuses(self.build(early), "not first named")

    def test_exchanges_are_paired(self):
        self.refuses_edit(2, lambda e: e.update(exchange="01JDA5N9"), "response without a request")
        self.refuses_edit(4, lambda e: e.update(exchange="01JDA5N%019d" % 1), "second response")
        def before(log):
            log.entries[1], log.entries[2] = log.entries[2], log.entries[1]
        self.refuses(self.build(before), "response without a request")
        self.refuses_edit(4, lambda e: e.update(id="01JDA5N%019d" % 0), "another entry has the id")
        self.verifies(self.build(lambda log: log.add(kind="custody.reveal", id=log.ulid(), time=TIME, future={"x": 1})))

    def test_damaged_entries_are_named(self):
        def damage(log):
            log.entries[3] = b"not json"
        self.refuses(self.build(damage), "entry 3: not JSON")


def parts(pack):
    return [part for _, _, part in verify.read_pack(io.BytesIO(pack))]


class Proofs(Case):
    def proof(self):
        log = large_writer()
        leaves = [make.leaf_hash(e) for e in log.entries]
        lines = ["c2sp.org/tlog-proof@v1", "extra " + make.b64(log.entries[7]), "index 7"]
        lines += [make.b64(h) for h in make.path(7, leaves)]
        return ("\n".join(lines) + "\n\n").encode() + log.files()["log/checkpoint"]

    def test_verifies_a_proof_and_refuses_any_change_of_it(self):
        data = self.proof()
        status, said = self.run_main("--proof", self.file("p", data), "--vkey", LOG.vkey, "--witness", WITNESS.vkey)
        self.assertEqual(status, 0, said)
        self.assertIn("exchange.request", said)
        for byte in range(0, data.rfind("\u2014 ".encode()), 3):
            status, said = self.run_main("--proof", self.file("p", make.flip(data, byte, byte % 8)), "--vkey", LOG.vkey)
            self.assertEqual(status, 1, "byte %d: %s" % (byte, said))
        self.assertEqual(self.run_main("--proof", self.file("p", data), "--vkey", OTHER.vkey)[0], 1)
        without = b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"extra "))
        self.assertIn("holds no entry", self.run_main("--proof", self.file("p", without), "--vkey", LOG.vkey)[1])


class Bundles(Case):
    """Bundles of all that a log has, made from docs/format.md alone."""

    def log(self, *said, kind="custody.expire"):
        log = Writer()
        log.exchange('"a"', '"b"', answer="yes", manifest=True)
        log.exchange('"b"', answer="no")
        for ranges in said:
            log.add(kind=kind, id=log.ulid(), time=TIME, erase={"entries": ranges})
        return log

    def bundle(self, log, *gone, change=lambda files: None):
        """The bundle of a log, without these parts."""
        def proof(index, entries):
            leaves = [make.leaf_hash(entry) for entry in entries]
            note = LOG.note(make.checkpoint_text(LOG.name, len(entries), make.mth(leaves)))
            lines = ["c2sp.org/tlog-proof@v1", "index %d" % index] + [make.b64(h) for h in make.path(index, leaves)]
            return note.encode(), ("\n".join(lines) + "\n\n" + note).encode()

        entries = log.entries
        leaves = [make.leaf_hash(entry) for entry in entries]
        root, files, exchanges, custody, lines = make.mth(leaves), {}, [], [], b""
        nodes, exhibits = [{"@id": "kb:tool", "@type": "uco-tool:Tool", "uco-core:name": "tabellion"}], []
        for index, data in enumerate(entries):
            entry = json.loads(data)
            path = "data/entries/%d.json" % index
            files[path], (note, files["data/proofs/%d.tlog-proof" % index]) = data, proof(index, entries)
            protected = make.cbor({1: -8, 4: LOG.id, 15: {1: LOG.name, 2: entry["id"]}, 395: 1})
            signature = LOG.raw(make.cbor(["Signature1", protected, b"", root]))
            path_to_root = make.cbor([len(entries), index, make.path(index, leaves)])
            receipt = [protected, {396: {-1: [path_to_root]}}, None, signature]
            files["data/receipts/%d.cbor" % index] = make.cbor(make.Tag(18, receipt))
            digest = {"uco-types:hashValue": {"@value": hexhash(data)}}
            facet = {"uco-observable:filePath": path, "uco-observable:hash": digest}
            nodes.append({"@id": "kb:%d" % index, "@type": "uco-observable:File", "uco-core:hasFacet": [facet]})
            if entry["kind"] == "exchange.request":
                exchanges.append({"exchange": entry["exchange"], "request": index, "response": index + 1})
            if entry["kind"].startswith("exchange."):
                exhibits.append({"@id": "kb:%d" % index})
                continue
            custody.append(index)
            lines += b'{"index":%d,"entry":%s}\n' % (index, data)
            act = {"@type": "case-investigation:InvestigativeAction", "uco-core:name": entry["kind"]}
            act.update({"uco-action:startTime": {"@value": entry["time"]}, "uco-action:performer": {"@id": "kb:tool"}})
            nodes.append({**act, "uco-action:object": [{"@id": "kb:%d" % index}]})
        nodes.append({"@type": "case-investigation:ProvenanceRecord", "uco-core:object": exhibits})
        for part in log.seen - set(gone):
            files["data/content/" + hexhash(part)] = part
        completeness = {"v": 1, "size": len(entries), "unnumbered": len(entries), "sessions": [], "gaps": [], "wrong": []}
        contents = {"v": 1, "selection": {}, "exchanges": exchanges, "custody": custody, "older": [], "anchors": []}
        files["data/custody.jsonl"], files["data/custody.case.jsonld"] = lines, compact({"@graph": nodes})
        files["data/completeness.json"] = compact({**completeness, "exchanges": len(exchanges)})
        files["data/bundle.json"], files["data/log/checkpoint"] = compact(contents), note
        files["data/log/log.vkey"] = LOG.vkey.encode() + b"\n"
        files["data/log/policy"] = ("log %s\nquorum none\n" % LOG.vkey).encode()
        change(files)
        listed = lambda: "".join("%s  %s\n" % (hexhash(files[path]), path) for path in sorted(files)).encode()
        manifest = listed()
        record = compact({"v": 1, "kind": "custody.export", "id": log.ulid(), "time": TIME,
                          "export": {"manifest": hexhash(manifest), "selection": {}, "exchanges": len(exchanges)}})
        payload, later = dict(files), [make.leaf_hash(entry) for entry in entries + [record]]
        files.clear()
        files.update({"bagit.txt": verify.BAGIT, "manifest-sha256.txt": manifest, "export/entry.json": record})
        files["export/entry.tlog-proof"] = proof(len(entries), entries + [record])[1]
        consistency = make.consistency(len(entries), later)
        files["export/consistency"] = "".join(make.b64(h) + "\n" for h in consistency).encode()
        files["tagmanifest-sha256.txt"] = listed()
        return {**payload, **files}

    def test_content_that_expired_may_be_absent_and_is_said(self):
        gone = (b'{"messages":[\0,\0]}', b'"a"', b'"yes"')
        said = self.verifies(self.bundle(self.log([[0, 1]])))
        self.assertIn("parts of content make the bodies that the entries commit to", said)
        said = self.verifies(self.bundle(self.log([[0, 1]]), *gone))
        self.assertIn("content of exchange 01JDA5N%019d is not here: entry 4 of the log says that it had expired" % 0, said)
        self.assertIn("make the bodies that these commit to, but for what had expired", said)
        a = "data/content/%s: is missing" % hexhash(b'"a"')
        for log in (self.log(), self.log([[1, 3]]), self.log([[0, 1]], kind="custody.erase")):
            said = self.refuses(self.bundle(log, *gone), a)
            self.assertNotIn("but for what had expired", said)
        # Nor does what comes before an entry, or what the bundle does not list.
        early = Writer()
        early.add(kind="custody.expire", id=early.ulid(), time=TIME, erase={"entries": [[0, 2]]})
        early.exchange('"a"')
        self.refuses(self.bundle(early, b'"a"'), a)
        def unlisted(files):
            contents = json.loads(files["data/bundle.json"])
            files["data/bundle.json"] = compact({**contents, "custody": []})
        self.refuses(self.bundle(self.log([[0, 1]]), *gone, change=unlisted), a)
        # What another exchange names too, and a manifest, stay.
        log = self.log([[0, 1]])
        manifest = next(part for part in log.seen if b'"role"' in part)
        for part in (b'"b"', manifest):
            self.refuses(self.bundle(log, *gone, part), "data/content/%s: is missing" % hexhash(part))
        # What is there is checked.
        def damaged(files):
            files["data/content/" + hexhash(manifest)] = make.flip(manifest, 20)
        self.refuses(self.bundle(log, *gone, change=damaged), "does not have its hash")


class Commands(Case):
    def test_exact_bytes(self):
        salt, data = bytes(range(32)), b"exactly\r\nthese"
        file = self.file("exact", data)
        right = hashlib.sha256(salt + data).hexdigest()
        self.assertEqual(self.run_main("--exact", file, "--salt", salt.hex(), "--commitment", right)[0], 0)
        self.assertEqual(self.run_main("--exact", file, "--salt", salt[::-1].hex(), "--commitment", right)[0], 1)
        self.assertEqual(self.run_main("--exact", self.file("exact", data + b"\n"), "--salt", salt.hex(), "--commitment", right)[0], 1)
        self.assertEqual(self.run_main("--exact", file, "--salt", "00", "--commitment", right)[0], 2)
        self.assertEqual(self.run_main("--exact", file, "--salt", salt.hex())[0], 2)

    def test_wrong_usage(self):
        for arguments in ([], ["/nowhere"], ["a", "--proof", "b"], ["--proof", "/nowhere", "--vkey", LOG.vkey], ["--proof", __file__],
                          [HERE, "--vkey", "nonsense"], ["--nonsense"]):
            self.assertEqual(self.run_main(*arguments)[0], 2, arguments)

    def test_a_folder_that_is_no_log_is_refused(self):
        self.assertEqual(self.run_main(HERE)[0], 1)

    def test_runs_as_a_program(self):
        data = self.write(small())
        key = self.file("key", LOG.vkey.encode() + b"\n")
        result = subprocess.run([sys.executable, os.path.join(HERE, "tabellion_verify.py"), data, "--vkey", key], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout.splitlines()[-1], "verified")


def numbered(*, stop=True):
    """A log of two sessions, with a declared loss."""
    log = Writer()
    log.session, log.number = "SESSION-A", 0
    add = log.add

    def add_numbered(**members):
        add(**members, producer=log.session, seq=log.number)
        log.number += 1

    log.add = add_numbered
    log.add(kind="custody.start", id=log.ulid(), time=TIME, key=LOG.vkey)
    log.exchange('"a"')
    log.batch()
    former = {"producer": log.session, "seq": log.number - 1}
    log.session, log.number = "SESSION-B", 0
    log.add(kind="custody.start", id=log.ulid(), time=TIME, key=LOG.vkey, former=former)
    log.add(kind="custody.recover", id=log.ulid(), time=TIME, former=former)
    log.add(kind="custody.gap", id=log.ulid(), time=TIME, gap={"reason": "disk_full", "count": 2})
    log.exchange('"b"', answer="good")
    log.add(kind="custody.heartbeat", id=log.ulid(), time=TIME.replace("10:00", "10:01"))
    if stop:
        log.add(kind="custody.stop", id=log.ulid(), time=TIME.replace("10:00", "10:01"))
    return log


class Completeness(Case):
    def test_a_whole_record_passes_and_says_what_it_declares(self):
        said = json.loads(self.verifies(numbered().files(), "--json"))
        self.assertEqual((said["sessions"], said["numbered"], said["unnumbered"], said["lost"]), (2, 10, 0, 2))
        self.assertIn("entry 5 declares that 2 were not recorded: disk_full", said["notes"])
        self.assertEqual(said["quiet_seconds_max"], 60)
        self.assertIn("has not ended", self.verifies(numbered(stop=False).files()))
        self.assertIn("have no number", self.verifies(small()))

    def test_whoever_signs_a_record_that_is_not_whole_is_named(self):
        # Content stays as it was; what is missed of it is reported as well.
        whole = numbered()
        for left_out in range(len(whole.entries) - 1):
            log = numbered()
            del log.entries[left_out]
            status, said = self.check(log.files(), "--json")
            self.assertEqual(status, 1, "without entry %d" % left_out)
            self.assertTrue(any(p["place"].startswith("entry ") for p in json.loads(said)["problems"]), said)
        log = numbered()
        log.entries[6], log.entries[7] = log.entries[7], log.entries[6]
        self.refuses(log.files(), "stands after a later one")
        log = numbered()
        log.entries.insert(6, compact({"v": 1, "kind": "event", "id": "slipped-in", "time": TIME}))
        self.refuses(log.files(), "has no number")

    def test_silence_is_held_against_a_limit(self):
        self.verifies(numbered().files(), "--max-quiet", "60")
        self.refuses(numbered().files(), "comes after 60 seconds", "--max-quiet", "59")

    def test_every_older_checkpoint_and_proof_is_held_against_the_log(self):
        log = numbered()
        older = [self.file("c%d" % size, log.files(size=size)["log/checkpoint"]) for size in (3, 5, 8)]
        arguments = [item for path in older for item in ("--checkpoint", path)]
        self.verifies(log.files(), *arguments)
        changed = numbered()
        changed.entries[6] = changed.entries[6].replace(b"exchange.request", b"exchange.requesT")
        forked = self.file("forked", changed.files(size=8)["log/checkpoint"])
        self.refuses(log.files(), "does not extend", *arguments, "--checkpoint", forked)


# What the reference verifier does not read, and says so; these vectors are the product's alone.
NOT_READ = ("ots", "cose")


class Vectors(unittest.TestCase):
    """Each method is a kind: it raises Refused, or asserts what was read."""

    def bytes_of(self, case, member):
        return case[member].encode() if member in case else bytes.fromhex(case[member + "_bytes"])

    def key(self, case):
        key = verify.VerifierKey(case["vkey"])
        self.assertEqual((key.name, key.id.hex()), (case["name"], case["id"]))

    def note(self, case):
        text, signers = verify.verify_note(self.bytes_of(case, "note"), [verify.VerifierKey(k) for k in case["keys"]])
        if not signers:
            raise verify.Refused("unsigned")
        self.assertEqual(text, case["text"])

    def checkpoint(self, case):
        try:
            head = verify.verify_checkpoint(self.bytes_of(case, "note"), verify.VerifierKey(case["vkey"]))
        except verify.Usage as error:
            raise verify.Refused(str(error))
        self.assertEqual((head.size, head.root.hex()), (case["size"], case["root"]))

    def cosignature(self, case):
        try:
            times = verify.cosignatures(case["note"].encode(), [verify.VerifierKey(k) for k in case["witnesses"]])
        except verify.Usage as error:
            raise verify.Refused(str(error))
        self.assertEqual(times, case["times"])

    def path(self, case):
        level, index, width = verify.parse_tile_path(case["path"])
        self.assertEqual((level, index, width), (case.get("level", "entries"), case["index"], case["width"]))

    def root(self, case):
        if verify.tree_hash([verify.leaf_hash(bytes.fromhex(e)) for e in case["leaves"]]).hex() != case["root"]:
            raise verify.Refused("another root")

    def inclusion(self, case):
        proof = [bytes.fromhex(h) for h in case["proof"]]
        verify.verify_inclusion(case["index"], case["size"], bytes.fromhex(case["leaf"]), proof, bytes.fromhex(case["root"]))

    def consistency(self, case):
        roots = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
        verify.verify_consistency(case["old"], roots[0], case["new"], roots[1], [bytes.fromhex(h) for h in case["proof"]])

    def bundle(self, case):
        self.assertEqual([e.hex() for e in verify.parse_bundle(bytes.fromhex(case["bytes"]), case["width"])], case["entries"])

    def pack(self, case):
        self.assertEqual([p.hex() for p in parts(bytes.fromhex(case["bytes"]))], case["parts"])

    def body(self, case):
        frame, body = bytes.fromhex(case["frame"]), bytes.fromhex(case["body"])
        verify.check_body(frame, [lambda p=p: bytes.fromhex(p) for p in case["parts"]], len(body), verify.sha256(body))

    def proof(self, case):
        proof = verify.Proof(case["proof"].encode())
        head = proof.verify(bytes.fromhex(case["entry"]), verify.VerifierKey(case["vkey"]))
        self.assertEqual((proof.index, head.size), (case["index"], case["size"]))

    def entry(self, case):
        verify.parse_entry(self.bytes_of(case, "entry"))

    def record(self, case):
        problems = []
        sessions = verify.Sessions(lambda place, what: problems.append((place, what)), case["vkey"])
        for position, entry in enumerate(case["entries"]):
            sessions.take(position, verify.parse_entry(entry.encode()))
        sessions.finish()
        if problems:
            self.assertTrue(all(re.fullmatch("entry [0-9]+", place) for place, _ in problems), problems)
            raise verify.Refused(problems[0][1])

    def custody(self, case):
        problems = []
        custody = verify.Custody(lambda place, what: problems.append("%s %s" % (place, what)), case["origin"])
        for position, entry in enumerate(case["entries"]):
            custody.take(position, verify.parse_entry(entry.encode()))
        self.assertEqual(problems, case["says"])
        if problems:
            raise verify.Refused(problems[0])

    def commitment(self, case):
        node = bytes.fromhex(case["key"])
        for character in case["entry"]:
            node = hashlib.sha256(node + bytes(["0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)])).digest()
        salt = hashlib.sha256(node + struct.pack(">I", case["n"])).hexdigest()
        value = hashlib.sha256(bytes.fromhex(salt + case["bytes"])).hexdigest()
        if (salt, value) != (case["salt"], case["commitment"]):
            raise verify.Refused("another")

    def test_vectors(self):
        for kind in make.OURS:
            if kind in NOT_READ:
                self.assertFalse(hasattr(self, kind))
                continue
            folder = os.path.join(HERE, "..", "vectors", kind)
            for name in sorted(os.listdir(folder)):
                with self.subTest(kind=kind, name=name), open(os.path.join(folder, name), encoding="utf-8") as f:
                    case = json.load(f)
                    if case["expect"] == "accept":
                        getattr(self, kind)(case)
                    else:
                        with self.assertRaises(verify.Refused):
                            getattr(self, kind)(case)

    def test_ml_dsa_signatures_are_checked_where_openssl_can_and_said_to_be_unchecked_elsewhere(self):
        folder = os.path.join(HERE, "..", "vectors", "ml-dsa")
        for name in sorted(os.listdir(folder)):
            with self.subTest(name=name), open(os.path.join(folder, name), encoding="utf-8") as f:
                case = json.load(f)
                keys, notes = [verify.VerifierKey(key) for key in case["keys"]], []
                note = case["note"].encode()
                witnesses = [key for key in keys if key.algorithm != verify.ED25519]
                try:
                    times = verify.cosignatures(note, witnesses, notes)
                except verify.Refused:
                    self.assertEqual(case["expect"], "refuse")
                    continue
                if verify.openssl_has_ml_dsa():
                    self.assertEqual((case["expect"], times), ("accept", case.get("times")))
                elif name != "unknown.json":
                    self.assertEqual((times, len(notes)), ({}, 1))


if __name__ == "__main__":
    unittest.main()
