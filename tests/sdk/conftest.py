"""One stand-in and one gateway for the session; what they kept is checked at its end."""

import pytest

from harness import Gateway, Standin, direct_side, gateway_side, leaks, outcome


@pytest.fixture(scope="session")
def standin():
    server = Standin()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gateway(standin, tmp_path_factory):
    server = Gateway(tmp_path_factory.mktemp("session"), standin.url)
    yield server
    code = server.stop()
    assert code == 0, server.log.read_text()
    verified = server.verify()
    assert verified.returncode == 0, (verified.stdout + verified.stderr).decode()
    assert leaks(server.home) == []


@pytest.fixture(scope="session")
def direct(standin):
    side = direct_side(standin)
    yield side
    side.close()


@pytest.fixture(scope="session")
def through(gateway):
    side = gateway_side(gateway)
    yield side
    side.close()


@pytest.fixture
def same(direct, through):
    """Makes a call on both sides, holds one outcome against the other, and gives it."""

    def compare(call):
        expected = outcome(call, direct)
        assert outcome(call, through) == expected
        return expected

    return compare


@pytest.fixture
def works(same):
    """As `same`, for what has to succeed: two equal failures prove nothing."""

    def compare(call):
        result = same(call)
        assert not (isinstance(result, dict) and "raises" in result), result
        return result

    return compare
