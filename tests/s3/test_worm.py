"""What lies in a bucket cannot be destroyed, and a bucket in which it could be is not used."""

import hashlib
import json
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

LOCKS = ("lock_configured", "lock_kept", "shorten_refused", "delete_refused")


def versions(store, bucket, prefix="a/log/"):
    pages = store.client().get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return [version for page in pages for version in page.get("Versions", []) if "/probe/" not in version["Key"]]


def refused(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_radosgw_is_proved_to_lock_and_its_lack_of_conditions_is_found(log, radosgw):
    said = log.to(radosgw, radosgw.bucket()).doctor()
    for check in (*LOCKS, "reachable", "clock", "legal_hold"):
        assert said[check][0] == "ok", said
    assert said["delete_refused"][1] == "deleting a locked object was refused (403)"
    assert said["conditional_create"][0] == "warning" and "200" in said["conditional_create"][1]


def test_a_mirror_in_radosgw_verifies_and_nobody_can_destroy_it(log, radosgw):
    bucket = radosgw.bucket()
    log.to(radosgw, bucket)
    first = log.mirror()
    assert first["from"] == 0 and first["size"] > 0
    assert log.mirror() == {"from": first["size"], "size": first["size"], "objects": 0, "bytes": 0, "removed": 0, "kept": 0}
    verified = log.run("verify", log.target)
    assert verified.returncode == 0, verified.stdout + verified.stderr

    client, found = radosgw.client(), versions(radosgw, bucket)
    keys = {version["Key"] for version in found}
    assert {"a/log/log/checkpoint", "a/log/log.vkey"} <= keys
    assert any(key.startswith("a/log/content/") for key in keys)
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    for version in found:
        at = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        lock = client.get_object_retention(**at)["Retention"]
        assert lock["Mode"] == "COMPLIANCE"
        assert lock["RetainUntilDate"] > datetime.now(timezone.utc) + timedelta(hours=23)
        assert refused(client.delete_object, **at) == 403
        assert refused(client.delete_object, **at, BypassGovernanceRetention=True) == 403
        shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": soon}
        assert refused(client.put_object_retention, **at, Retention=shorter) == 403
    assert [version["VersionId"] for version in versions(radosgw, bucket)] == [v["VersionId"] for v in found]


def test_what_somebody_writes_over_an_object_is_found_and_the_first_version_is_still_there(log, radosgw):
    bucket = radosgw.bucket()
    log.to(radosgw, bucket).mirror()
    client = radosgw.client()
    key = next(v["Key"] for v in versions(radosgw, bucket) if "/tile/entries/" in v["Key"])
    true = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=true[:-1] + bytes([true[-1] ^ 1]))
    verified = log.run("verify", log.target)
    assert verified.returncode == 1, verified.stdout + verified.stderr
    of_it = sorted((v for v in versions(radosgw, bucket) if v["Key"] == key), key=lambda v: v["LastModified"])
    first = client.get_object(Bucket=bucket, Key=key, VersionId=of_it[0]["VersionId"])["Body"].read()
    assert hashlib.sha256(first).digest() == hashlib.sha256(true).digest()


def test_a_bucket_of_radosgw_without_locks_is_refused_unless_one_will_do(log, radosgw):
    bucket = radosgw.bucket(locked=False)
    mirrored = log.to(radosgw, bucket).run("mirror")
    assert mirrored.returncode == 3 and "does not keep what it is given" in mirrored.stderr
    assert versions(radosgw, bucket) == []
    log.to(radosgw, bucket, lock=False).mirror()
    assert log.run("verify", log.target).returncode == 0
    undecided = log.to(radosgw, bucket, retention_days=0).run("mirror")
    assert undecided.returncode == 2 and "for how long" in undecided.stderr


def test_what_expired_stays_while_a_lock_keeps_it_and_goes_where_none_does(log, radosgw):
    locked, free = radosgw.bucket(), radosgw.bucket(locked=False)
    log.to(radosgw, locked).mirror()
    log.to(radosgw, free, lock=False).mirror()
    content = lambda bucket: {v["Key"] for v in versions(radosgw, bucket, "a/log/content/")}
    before = content(free)
    assert before == content(locked)
    log.config.write_text(log.config.read_text() + '[[retention.rule]]\nkeep = "1s"\n')
    expired = log.run("expire", "--json")
    assert expired.returncode == 0 and json.loads(expired.stdout)["exchanges"] > 0, expired.stderr
    removed = log.mirror()
    assert removed["removed"] > 0 and removed["kept"] == 0
    assert content(free) < before
    assert log.run("verify", log.target).returncode == 0

    kept = log.to(radosgw, locked).mirror()
    assert kept["removed"] == 0 and kept["kept"] == removed["removed"]
    assert content(locked) == before
    verified = log.run("verify", log.target)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_moto_which_accepts_a_shortened_lock_is_found_out(log, moto):
    bucket = moto.bucket()
    said = log.to(moto, bucket).doctor()
    assert said["conditional_create"][0] == said["concurrent_create"][0] == "ok"
    assert said["shorten_refused"] == ("failed", "a lock was shortened and weakened to governance")
    mirrored = log.run("mirror")
    assert mirrored.returncode == 3 and "shorten_refused" in mirrored.stderr
    log.to(moto, bucket, lock=False).mirror()
    assert log.run("verify", log.target).returncode == 0


def test_s3rver_which_only_pretends_is_found_out(log, s3rver):
    bucket = s3rver.bucket()
    said = log.to(s3rver, bucket).doctor()
    assert {said[check][0] for check in LOCKS} == {"failed"}, said
    assert said["delete_refused"][1].startswith("a locked object was deleted")
    assert said["conditional_create"][0] == said["legal_hold"][0] == "warning"
    mirrored = log.run("mirror")
    assert mirrored.returncode == 3 and "does not keep what it is given" in mirrored.stderr
    assert log.to(s3rver, bucket, lock=False).mirror()["size"] > 0
    assert log.run("verify", log.target).returncode == 0


def test_a_store_that_is_away_is_an_error_of_the_environment(log, moto):
    log.to(moto, "nowhere")
    assert log.doctor()["reachable"][0] == "failed"
    mirrored = log.run("mirror")
    assert mirrored.returncode == 3 and "the bucket cannot be used" in mirrored.stderr
