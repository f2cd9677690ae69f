"""A model used in financial decisions is suspected of bias: prove the exact data that it received and the exact answer
that it gave, and that the record has not been altered since."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import bagit
import duckdb
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABELLION = os.environ.get("TABELLION_BIN") or str(ROOT / "target/debug/tabellion")
STANDIN = os.environ.get("STANDIN_BIN") or str(ROOT / "target/debug/tabellion-standin")
DECISIONS = 40
#: What every applicant says; nothing of it may be kept.
PLANTED = ["536-90-4399", "anna.kowalska@nordwind-bank.de", "4111 1111 1111 1111"]


def said(number):
    return (
        f"Application {number}: I earn {2000 + 50 * number} a month. My SSN is {PLANTED[0]}, my e-mail address is {PLANTED[1]}, "
        f"my credit card number is {PLANTED[2]}. Decide on a loan of 10000."
    )


def run(*command, code=0, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The bank: its application, the gateway, and what it kept of the one decision that is disputed."""
    home = tmp_path_factory.mktemp("bank")
    standin = subprocess.Popen([STANDIN, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    url = f"http://{standin.stdout.readline().strip()}"
    environment = {
        **os.environ,
        "TABELLION_UPSTREAM_OPENAI_URL": url,
        "TABELLION_GATEWAY_LISTEN": "127.0.0.1:0",
        "TABELLION_CONSOLE_LISTEN": "127.0.0.1:0",
    }
    with open(home / "serve.log", "wb") as log:
        gateway = subprocess.Popen([TABELLION, "serve", "--data", "data"], cwd=home, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not (home / "data/server.json").exists():
            assert gateway.poll() is None and time.monotonic() < deadline, (home / "serve.log").read_text()
            time.sleep(0.02)
        address = json.loads((home / "data/server.json").read_text())["gateway"]
        # Whoever will examine this later was told the log's key when the system went into service.
        key = (home / "data/log.vkey").read_text().splitlines()[0]
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="sk-test-0123456789abcdef", max_retries=0)
        disputed = None
        for number in range(DECISIONS):
            raw = client.chat.completions.with_raw_response.create(
                model="loan",
                messages=[{"role": "system", "content": "You decide on loans."}, {"role": "user", "content": said(number)}],
                temperature=0.2,
                extra_headers={"x-tabellion-case": f"LOAN-{number}", "accept-encoding": "identity"},
            )
            if number == 7:
                disputed = raw.headers["x-tabellion-exchange"]
                (home / "request.bin").write_bytes(raw.http_request.content)
                (home / "response.bin").write_bytes(raw.content)
        client.models.list()
        client.close()
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(30) == 0, (home / "serve.log").read_text()
    finally:
        gateway.kill()
        standin.kill()
        standin.stdout.close()
    return home, key, disputed


def tabellion(home, *arguments, code=0):
    return run(TABELLION, *arguments, "--data", "data", cwd=home, code=code)


def without_network():
    """A command before others, so that they have no network; none where that is not allowed."""
    probe = ["unshare", "--map-root-user", "--net", "true"]
    allowed = shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0
    return probe[:-1] if allowed else []


def test_the_whole_population_is_reported_with_its_completeness(house, tmp_path):
    home, key, _ = house
    operation = "POST /v1/chat/completions"
    arguments = ("--upstream", "openai", "--operation", operation, "--reason", f"file 77, ask {PLANTED[1]}")
    tabellion(home, "case", "report", *arguments, "-o", str(tmp_path / "report"))
    report = tmp_path / "report"
    facts = json.loads((report / "report.json").read_text())
    assert (facts["exchanges"], facts["complete"], facts["incomplete_because"]) == (DECISIONS, True, [])
    assert facts["outcomes"] == {"complete": DECISIONS}
    assert list(facts["parameters"]) == ['{"model":"loan","temperature":0.2}']
    assert len(facts["policies"]) == 1 and facts["findings"]["US_SSN"] >= DECISIONS
    page = (report / "report.md").read_text()
    assert re.search(rf"\*\*{DECISIONS} exchanges of this selection: all whose .* none missing\.\*\*", page), page
    run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=report)
    run(TABELLION, "verify", "record.tlog-proof", "--vkey", key, cwd=report)
    proof = (report / "record.tlog-proof").read_text()
    assert "extra " in proof
    for file in report.iterdir():
        for planted in PLANTED:
            assert planted.encode() not in file.read_bytes(), f"{file.name} has {planted}"

    # The statistician has tools of their own.
    parquet = f"'{report}/decisions.parquet'"

    def sql(what):
        return duckdb.sql(f"select {what} from {parquet}").fetchall()

    types = dict(duckdb.sql(f"select column_name, column_type from (describe select * from {parquet})").fetchall())
    assert types["requested_at"] == "TIMESTAMP WITH TIME ZONE" and types["request_entry"] == "BIGINT"
    assert sql('count(*), count(distinct "case"), count(distinct model_answered)') == [(DECISIONS, DECISIONS, 1)]
    # The same person has the same pseudonym in every row, and no row has the person.
    assert sql("count(distinct pseudonyms)") == [(1,)]
    inputs = [row[0] for row in duckdb.sql(f"select input from {parquet} order by request_entry").fetchall()]
    body = json.loads(inputs[0])
    assert body["temperature"] == 0.2 and re.search(r"\[US_SSN:[a-z2-7]{8}\]", body["messages"][1]["content"])
    assert sql("count(*) filter (where output_text is null)") == [(0,)]
    with open(report / "decisions.csv", newline="", encoding="utf-8") as file:
        written = sorted(csv.DictReader(file), key=lambda row: int(row["request_entry"]))
    assert [row["input"] for row in written] == inputs
    assert sorted(int(row["tokens_read"]) for row in written) == sorted(row[0] for row in sql("tokens_read"))


def test_a_report_says_what_it_is_not_of(house, tmp_path):
    home, _, disputed = house
    tabellion(home, "case", "report", "--id", disputed, "-o", str(tmp_path / "one"))
    page = (tmp_path / "one/report.md").read_text()
    assert "Application 7" in page and disputed in page and "commitment" in page.lower()
    assert "Of any time after it nothing is known" in page
    tabellion(home, "case", "report", "--case", "nobody", "-o", str(tmp_path / "none"), code=1)
    tabellion(home, "case", "report", "-o", str(tmp_path / "none"), code=2)
    tabellion(home, "case", "report", "--id", disputed, "-o", str(tmp_path / "one"), code=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one"]
    # Each report is an act on the record.
    tabellion(home, "export", "--id", disputed, "-o", str(tmp_path / "after.zip"))
    with zipfile.ZipFile(tmp_path / "after.zip") as archive:
        custody = archive.read("after/data/custody.jsonl").decode()
    reports = [json.loads(line)["entry"] for line in custody.splitlines() if '"custody.report"' in line]
    assert reports and reports[-1]["export"]["selection"] == {"id": disputed}


def test_an_examiner_proves_it_without_tabellion_and_without_a_network(house, tmp_path):
    home, key, disputed = house
    tabellion(home, "export", "--case", "LOAN-7", "--reason", "file 77", "-o", str(home / "loan.zip"))
    exact = {}
    for side, flag in (("request", []), ("response", ["--response"])):
        done = subprocess.run(
            [TABELLION, "prove", disputed, *flag, "--original", f"{side}.bin", "-o", f"{side}.tlog-proof", "--data", "data"],
            cwd=home, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        # Giving a salt out is a look, and on the record.
        looked = subprocess.run(
            [TABELLION, "reveal", disputed, *flag, "--salt", "--reason", "file 77", "--data", "data"],
            cwd=home, capture_output=True, text=True,
        )
        assert looked.returncode == 0, looked.stderr
        exact[side] = (
            re.search(r"commitment ([0-9a-f]{64})", looked.stderr)[1],
            re.search(r"salt +([0-9a-f]{64})", looked.stdout)[1],
        )

    # The examiner's machine: a directory with what was handed over, and what every such machine has.
    desk = tmp_path / "desk"
    desk.mkdir()
    for name in ("loan.zip", "request.bin", "response.bin"):
        shutil.copy(home / name, desk / name)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(desk), "LC_ALL": "C.UTF-8"}

    def examine(*command, code=0, at=desk):
        return run(*without_network(), *command, cwd=at, env=bare, code=code)

    examine("python3", "-m", "zipfile", "-e", "loan.zip", ".")
    loan = desk / "loan"
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        examine("sha256sum", "--check", "--strict", "--quiet", manifest, at=loan)
    lines = examine("python3", "verify.py", ".", "--vkey", key, at=loan).splitlines()
    assert lines[-1] == "verified"
    proved = "\n".join(line for line in lines if line.startswith("proved: "))
    for what in ("1 exchanges", "COSE receipts", "CASE/UCO", "accounts for all", "on the record", "index.html"):
        assert what in proved, f"{what}: {proved}"
    # The exact bytes: of the application's own copy, and of no other.
    entries = {json.loads(path.read_text()).get("original", {}).get("commitment") for path in loan.glob("data/entries/*.json")}
    for side, (commitment, salt) in exact.items():
        assert commitment in entries
        told = ("python3", "loan/verify.py", "--exact", f"{side}.bin", "--salt", salt, "--commitment", commitment)
        examine(*told)
        copy = bytearray((desk / f"{side}.bin").read_bytes())
        copy[-1] ^= 1
        (desk / f"{side}.bin").write_bytes(copy)
        examine(*told, code=1)
    # One word of the answer, as somebody would like it to have been.
    part = max(loan.glob("data/content/*"), key=lambda path: path.stat().st_size)
    part.write_bytes(part.read_bytes().replace(b"o", b"0", 1))
    assert "REFUSED" in examine("python3", "verify.py", ".", "--vkey", key, at=loan, code=1)


def test_others_tools_read_a_bundle(house, tmp_path):
    home, _, disputed = house
    tabellion(home, "export", "--id", disputed, "--reason", "a reason with \"quotes\" and ünïcode", "-o", str(tmp_path / "b.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        archive.extractall(tmp_path)
    assert bagit.Bag(str(tmp_path / "b")).validate()
    validator = pathlib.Path(sys.executable).parent / "case_validate"
    graph = tmp_path / "b/data/custody.case.jsonld"
    for version in ("case-1.4.0", "case-1.5.0"):
        said = run(str(validator), "--built-version", version, str(graph))
        assert "Conforms: True" in said, said
    # The validator is no rubber stamp: a hash that is none is refused.
    wrong = tmp_path / "wrong.jsonld"
    wrong.write_text(graph.read_text().replace('"xsd:hexBinary"', '"xsd:integer"'))
    assert "Conforms: False" in run(str(validator), "--built-version", "case-1.5.0", str(wrong), code=1)
