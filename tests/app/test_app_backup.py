"""Backup and restore from the command line: what is asked for, and what is refused before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from arbitrage.app.backing_up import configuration_of, keyring_for
from arbitrage.app.cli import main
from arbitrage.app.exits import Exit
from arbitrage.app.restore_command import endpoint_of, newest_of
from arbitrage.model.settings import BackupSettings, Settings, StoreSettings
from arbitrage.ops.config import load
from arbitrage.ops.keys import BACKUP_KEY, hidden_key, read_backup_key
from arbitrage.ops.problems import ConfigError
from arbitrage.store.manifests import BackupRefused

PROJECT = Path(__file__).parents[2]
KEY = b"a passphrase that nobody guesses"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the caller's environment configures what is tested."""
    for name in os.environ:
        if name.startswith(("ARBITRAGE_", "POSTGRES_", "REDIS_", "PG")) or name in ("ENV", "MODE", "LOG_LEVEL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARBITRAGE__STORE__DATA_DIR", str(tmp_path / "data"))


def with_key(folder: Path, content: bytes = KEY, mode: int = 0o600) -> Settings:
    folder.chmod(0o700)
    (folder / BACKUP_KEY).write_bytes(content)
    (folder / BACKUP_KEY).chmod(mode)
    return Settings(venues={}, keys_dir=str(folder))


# -- the key ------------------------------------------------------------------------------------------------------------


def test_a_key_is_read_from_a_private_file_or_a_credential_or_a_named_file(tmp_path: Path) -> None:
    settings = with_key(tmp_path, KEY + b"\n")
    assert read_backup_key(settings, {}) == KEY
    assert read_backup_key(Settings(venues={}), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == KEY
    assert read_backup_key(Settings(venues={}), {}, str(tmp_path / BACKUP_KEY)) == KEY
    assert hidden_key(settings, {}) == [KEY.decode()]


def test_without_a_key_there_is_none_unless_it_is_demanded() -> None:
    assert not keyring_for(Settings(venues={}), {}).has_key
    with pytest.raises(ConfigError, match=r"backup\.key_required.*demands a key, and there is none"):
        keyring_for(Settings(venues={}, backup=BackupSettings(key_required=True)), {})


@pytest.mark.parametrize(("content", "mode", "words"), [(b"abc-xyz-1", 0o600, "is too short"), (KEY, 0o644, "has mode 0644")])
def test_a_key_that_is_none_is_refused_without_showing_it(tmp_path: Path, content: bytes, mode: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_backup_key(with_key(tmp_path, content, mode), {})
    assert content.decode() not in str(caught.value)


def test_the_configuration_in_a_backup_has_origins_and_no_secret() -> None:
    loaded = load(PROJECT / "config", {"POSTGRES_PASSWORD": "s3cret-word", "POSTGRES_HOST": "db.example"})
    content = configuration_of(loaded)
    body = msgspec.json.decode(content)
    assert b"s3cret-word" not in content and body["settings"]["store"]["postgres_password"] == ""
    assert body["settings"]["store"]["postgres_host"] == "db.example"
    assert body["origins"]["store.postgres_host"] == "environment variable POSTGRES_HOST"
    assert body["version"] == loaded.version


# -- where from, where to -----------------------------------------------------------------------------------------------


def test_a_server_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    store = StoreSettings(postgres_host="db", postgres_port=5433, postgres_user="me", postgres_password="known")
    settings = Settings(venues={}, store=store)
    assert endpoint_of("postgresql://me@db:5433/new", settings).password == "known"
    assert endpoint_of("postgresql://me@other:5433/new", settings).password == ""
    monkeypatch.setenv("PGPASSWORD", "given")
    found = endpoint_of("postgres://me@other/new", settings)
    assert (found.password, found.port, found.database) == ("given", 5432, "new")


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:word@db/new", "postgresql://me@db/new?password=word", "postgresql://db/new", "postgresql://me@db:x/n"]
)
def test_a_password_on_the_command_line_is_refused(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", str(tmp_path), "--to", dsn]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--to" in said and "PGPASSWORD" in said and "word@" not in said and "=word" not in said


def test_the_newest_whole_backup_of_a_folder_is_taken(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        folder = tmp_path / f"backup-2026112{number}T000000.000Z"
        folder.mkdir()
        if number != 3:
            (folder / "manifest.json").touch()
    (tmp_path / "backup-20261129T000000.000Z.partial").mkdir()
    assert newest_of(tmp_path).name == "backup-20261122T000000.000Z"
    assert newest_of(tmp_path / "backup-20261121T000000.000Z").name == "backup-20261121T000000.000Z"
    with pytest.raises(BackupRefused, match="there is no such folder"):
        newest_of(tmp_path / "gone")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup"], "no daemon has run here yet: there is nothing to back up"),
        (["backup", "--drill"], "no daemon has run here yet: there is nothing to back up"),
        (["restore", "{here}", "--to", "{here}/new"], "holds no whole backup"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(here=tmp_path) for word in words]) == Exit.CHECK_FAILED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists() and not (tmp_path / "data").exists()
