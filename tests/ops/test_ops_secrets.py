"""Secrets: whose file it may be, how variables expand, what systemd hands over, and that no value is ever shown."""

from __future__ import annotations

import base64
import os
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_config_files import write_config

from arbitrage.ops.config import Loaded, compare, flat, load, shown
from arbitrage.ops.config_command import show_text
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.secrets import Redactor

SECRET = "s3cr3t/p+ss word"


def refusal(folder: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, environ or {})
    return str(caught.value)


def with_secrets(folder: Path, text: str, environ: dict[str, str] | None = None) -> Loaded:
    return load(write_config(folder, secrets=text), environ or {})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700, 0o200])
def test_a_secrets_file_with_any_other_mode_than_0600_or_0400_is_refused(tmp_path: Path, mode: int) -> None:
    folder = write_config(tmp_path, secrets="store: {postgres_password: x}\n")
    (folder / "secrets.yaml").chmod(mode)
    found = refusal(folder)
    assert "chmod 600" in found if os.geteuid() == 0 or mode & 0o400 else "cannot be read" in found


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_secrets_file_is_read(tmp_path: Path, mode: int) -> None:
    folder = write_config(tmp_path, secrets="store: {postgres_password: word}\n")
    (folder / "secrets.yaml").chmod(mode)
    assert load(folder, {}).settings.store.postgres_password == "word"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_secrets_file_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = write_config(tmp_path, secrets="store: {postgres_password: x}\n")
    os.chown(folder / "secrets.yaml", 12345, -1)
    assert "is owned by user 12345" in refusal(folder)


def test_a_link_a_folder_and_a_pipe_are_no_secrets_file(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    path = folder / "secrets.yaml"
    (tmp_path / "real").write_text("mode: paper")
    path.symlink_to(tmp_path / "real")
    assert "no link" in refusal(folder)
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    assert "no link" in refusal(folder)
    path.unlink()
    path.mkdir()
    assert "not a plain file" in refusal(folder)
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert "not a plain file" in refusal(folder)


def test_variables_expand_once_with_their_default(tmp_path: Path) -> None:
    text = "store:\n  postgres_password: pre-${A}-${B:-two}-${C:-four}\n  redis_password: $${A}\n  redis_port: ${PORT:-7000}\n"
    store = with_secrets(tmp_path, text, {"A": "${B}", "B": "", "C": "three"}).settings.store
    assert store.postgres_password == "pre-${B}-two-three"
    assert store.redis_password == "${A}"
    assert store.redis_port == 7000


def test_a_missing_variable_and_a_broken_placeholder_are_named(tmp_path: Path) -> None:
    found = refusal(write_config(tmp_path, secrets="store:\n  postgres_password: ${NOPE}\n  redis_password: ${1x}\n"))
    assert "secrets.yaml:2 store.postgres_password: wants the environment variable NOPE" in found
    assert "secrets.yaml:3 store.redis_password: has a `${` that is not" in found


def test_secrets_are_text_whatever_yaml_would_make_of_them(tmp_path: Path) -> None:
    store = with_secrets(tmp_path, "store:\n  postgres_password: 0123\n  redis_password: yes\n").settings.store
    assert (store.postgres_password, store.redis_password) == ("0123", "yes")


def test_credentials_win_over_the_file(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "postgres_password").write_text("from systemd\n")
    (credentials / "unrelated").write_text("x")
    loaded = with_secrets(tmp_path, "store: {postgres_password: from-file}\n", {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.settings.store.postgres_password == "from systemd"
    assert str(loaded.origins["store.postgres_password"]) == "credential postgres_password"
    assert loaded.redactor.redact("by from systemd") == "by ***"


def test_unreadable_credentials_are_refused(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    assert "LoadCredential" in refusal(folder, {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")})
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "redis_password").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refusal(folder, {"CREDENTIALS_DIRECTORY": str(credentials)})
    (credentials / "redis_password").write_bytes(b"x" * 70_000)
    assert "too large" in refusal(folder, {"CREDENTIALS_DIRECTORY": str(credentials)})


@pytest.mark.parametrize("keys", ["keys: VALUE-9\n", "keys: {upbit: {api_key: VALUE-9}}\n"])
def test_trading_keys_in_the_secrets_file_are_refused_without_showing_them(tmp_path: Path, keys: str) -> None:
    found = refusal(write_config(tmp_path, secrets=keys))
    assert "holds trading keys, which are not read from here" in found and "keys_dir" in found and "VALUE-9" not in found


def test_a_value_from_a_secret_place_is_shown_nowhere_even_under_a_wrong_key(tmp_path: Path) -> None:
    text = f"mode: {SECRET}\nlog: {{level: '{SECRET}'}}\nrisk: {{open_plans_max: {SECRET}}}\n"
    found = refusal(write_config(tmp_path, secrets=text))
    assert "mode: *** is refused" in found and SECRET not in found
    found = refusal(write_config(tmp_path, secrets=""), {"ARBITRAGE__STORE__REDIS_PASSWORD": SECRET, "REDIS_PORT": "x"})
    assert SECRET not in found


def test_passwords_are_shown_as_stars_by_every_printout(tmp_path: Path) -> None:
    before = load(write_config(tmp_path), {})
    after = load(tmp_path, {"POSTGRES_PASSWORD": SECRET, "REDIS_PASSWORD": SECRET})
    for text in (
        show_text(after, with_origin=True, as_json=False), show_text(after, with_origin=True, as_json=True),
        show_text(after, with_origin=False, as_json=True), str(compare(before, after)), repr(after.redactor),
    ):
        assert SECRET not in text
    assert shown("store.postgres_password", flat(after.settings)["store.postgres_password"]) == "***"
    assert after.redactor.redact(f"PASSWORD={SECRET}") == "PASSWORD=***"


def test_the_redactor_knows_a_value_in_all_its_forms() -> None:
    redactor = Redactor([SECRET])
    raw = SECRET.encode()
    for form in (
        SECRET, base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), raw.hex(), raw.hex().upper(),
        urllib.parse.quote(SECRET), urllib.parse.quote(SECRET, safe=""), urllib.parse.quote_plus(SECRET), repr(SECRET)[1:-1],
    ):
        assert redactor.redact(f"<{form}>") == "<***>", form


@given(
    secret=st.text(alphabet=st.characters(codec="utf-8"), min_size=4, max_size=40),
    before=st.binary(max_size=9), after=st.binary(max_size=9),
)
def test_no_form_of_a_secret_survives_redaction(secret: str, before: bytes, after: bytes) -> None:
    redacted = Redactor([secret])
    raw = secret.encode()
    assert secret not in redacted.redact(f"x{secret}y").replace("***", "") or secret in "xy***"
    assert raw.hex() not in redacted.redact(raw.hex())
    whole = base64.b64encode(before + raw + after).decode()
    if len(raw) >= 6:
        assert redacted.redact(whole) != whole


def test_short_values_are_left_alone_and_no_secret_means_no_change() -> None:
    assert Redactor(["abc"]).redact("abc") == "abc"
    assert Redactor([]).redact("text") == "text"
    assert Redactor(["first-one"]).knowing(["second-one"]).redact("first-one second-one") == "*** ***"
