"""Keys that Tabellion issues, given to the SDKs as the API key."""

import anthropic
import openai
import pytest

from harness import TEXT, Gateway

SAID = [{"role": "user", "content": TEXT}]
# Of the right form, and issued by nobody.
STRANGER = "tbl_" + "Ky9Pf34qY6Nb3wWD25RQ4F5ZR3qa7yEeeby3abP3E2Z3z10fu"

# What an SDK calls with, and which errors it has for whom a provider does not let in.
CALLS = {
    "openai": (
        lambda url, key: openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).chat.completions.create(
            model="echo", messages=SAID
        ).choices[0].message.content,
        openai,
    ),
    "anthropic": (
        lambda url, key: anthropic.Anthropic(base_url=f"{url}/anthropic", api_key=key, max_retries=0).messages.create(
            model="echo", max_tokens=99, messages=SAID
        ).content[0].text,
        anthropic,
    ),
}


@pytest.fixture(scope="module")
def locked(standin, tmp_path_factory):
    """A gateway that asks everybody for a key."""
    server = Gateway(tmp_path_factory.mktemp("keys"), standin.url, TABELLION_GATEWAY_KEYS="required")
    yield server
    assert server.stop() == 0, server.log.read_text()
    verified = server.verify()
    assert verified.returncode == 0, (verified.stdout + verified.stderr).decode()


def issued(server, role):
    done = server.command("key", "issue", "--role", role, "--holder", role, "--data", str(server.data))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.mark.parametrize("sdk", CALLS)
def test_a_key_is_an_api_key(locked, sdk):
    call, errors = CALLS[sdk]
    writer, reader = issued(locked, "writer"), issued(locked, "reader")
    assert call(locked.url, writer) == TEXT
    for key in (STRANGER, "sk-of-the-providers"):
        with pytest.raises(errors.AuthenticationError):
            call(locked.url, key)
    with pytest.raises(errors.PermissionDeniedError):
        call(locked.url, reader)


@pytest.mark.parametrize("sdk", CALLS)
def test_a_key_that_fails_on_and_on_is_told_to_wait(locked, sdk):
    call, errors = CALLS[sdk]
    for _ in range(10):
        with pytest.raises((errors.AuthenticationError, errors.RateLimitError)):
            call(locked.url, STRANGER)
    with pytest.raises(errors.RateLimitError) as refused:
        call(locked.url, STRANGER)
    assert refused.value.response.headers["retry-after"] == "60"
