"""Trading keys: from private files and systemd credentials alone, refused with the way to mend it, and shown nowhere."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from ops_config_files import write_config

from arbitrage.model.settings import Settings
from arbitrage.ops.config import load
from arbitrage.ops.keys import KEY_BYTES_MAX, hidden_texts, key_names, read_channel_keys, read_keys
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.secrets import Redactor

ACCESS, SECRET = "ACCESS-KEY-OF-OURS-1", "S3cretOfOurs+/that-signs-everything"


def pem(encryption: bytes = b"") -> bytes:
    how = BestAvailableEncryption(encryption) if encryption else NoEncryption()
    return ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def put(folder: Path, name: str, text: bytes | str, mode: int = 0o600) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def house(tmp_path: Path) -> Settings:
    """Write four good files and return settings that name their folder."""
    for venue in ("binance", "upbit"):
        for name, text in zip(key_names(venue), (ACCESS, SECRET), strict=True):
            put(tmp_path / "keys", name, f"{text}\n")
    settings = load(write_config(tmp_path / "config"), {}).settings
    return msgspec.structs.replace(settings, keys_dir=str(tmp_path / "keys"))


def refusal(settings: Settings, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_keys(settings, environ or {})
    text = str(caught.value)
    assert ACCESS not in text and SECRET not in text and "PRIVATE KEY" not in text
    return text


def test_private_files_in_the_named_folder_are_read_whole_and_trimmed(tmp_path: Path) -> None:
    keys = read_keys(house(tmp_path), {})
    assert set(keys) == {"binance", "upbit"}
    assert (keys["upbit"].access_key(), keys["upbit"].secret(), keys["upbit"].kind) == (ACCESS, SECRET.encode(), "shared")


def test_what_is_missing_is_named_with_both_ways_to_give_it(tmp_path: Path) -> None:
    settings = load(write_config(tmp_path), {}).settings
    lines = refusal(settings).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"trading key {name}" for venue in ("binance", "upbit") for name in key_names(venue)
    ]
    assert all("LoadCredential=" in line and "mode 0600, into keys_dir" in line for line in lines)


def test_configuration_and_environment_are_no_place_for_a_key(tmp_path: Path) -> None:
    settings = load(write_config(tmp_path), {}).settings
    environ = {"ARBITRAGE__KEYS__BINANCE__API_KEY": ACCESS, "BINANCE_API_KEY": ACCESS, "BINANCE_API_SECRET": SECRET}
    assert "is missing" in refusal(settings, environ)
    for text in (f"keys: {{binance: {{api_key: {ACCESS}}}}}\n", f"venues: {{binance: {{secret: {SECRET}}}}}\n"):
        with pytest.raises(ConfigError, match="unknown key") as caught:
            load(write_config(tmp_path / "other", development=text), {})
        assert ACCESS not in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700, 0o777])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    settings = house(tmp_path)
    path = tmp_path / "keys" / "arbitrage-upbit-secret"
    path.chmod(mode)
    assert f"{path}: has mode {mode:04o}, so others may read it; chmod 600 {path}" in refusal(settings)
    path.chmod(0o400)
    assert read_keys(settings, {})


def test_a_folder_that_others_can_change_is_refused(tmp_path: Path) -> None:
    settings = house(tmp_path)
    (tmp_path / "keys").chmod(0o770)
    assert f"chmod 700 {tmp_path / 'keys'}" in refusal(settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", ["arbitrage-binance-key", "."])
def test_a_file_or_folder_of_another_user_is_refused(tmp_path: Path, name: str) -> None:
    settings = house(tmp_path)
    os.chown(tmp_path / "keys" / name, 12345, -1)
    text = refusal(settings)
    assert "is owned by user 12345" in text and f"chown {os.geteuid()} " in text


def test_a_link_or_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    settings = house(tmp_path)
    path = tmp_path / "keys" / "arbitrage-binance-key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "no link" in refusal(settings)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "not a plain file" in refusal(settings)


def test_a_systemd_credential_is_read_first_and_needs_no_folder(tmp_path: Path) -> None:
    settings = house(tmp_path)
    credentials = tmp_path / "credentials"
    put(credentials, "arbitrage-binance-secret", f"credential-{SECRET}", 0o400)
    put(credentials, "arbitrage-binance-key", f"credential-{ACCESS}", 0o440)
    put(credentials, "redis_password", "word", 0o400)
    keys = read_keys(settings, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert keys["binance"].secret() == f"credential-{SECRET}".encode() and keys["upbit"].secret() == SECRET.encode()


def test_a_credential_that_the_world_can_read_was_not_made_by_systemd(tmp_path: Path) -> None:
    put(tmp_path / "credentials", "arbitrage-binance-key", ACCESS, 0o444)
    text = refusal(house(tmp_path), {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert "is no private file of root's or ours" in text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("arbitrage-binance-key", "", "is empty"), ("arbitrage-binance-key", "two words", "is no access key"),
        ("arbitrage-binance-key", "x" * 300, "is no access key"), ("arbitrage-upbit-secret", "short", "is no secret"),
        ("arbitrage-upbit-secret", f"{SECRET} {SECRET}", "is no secret"),
        ("arbitrage-upbit-secret", "geheimnis-schlüssel", "is no secret"),
        ("arbitrage-binance-secret", "y" * (KEY_BYTES_MAX + 1), "has more than"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_key_is_refused_without_showing_it(tmp_path: Path, name: str, text: str, words: str) -> None:
    settings = house(tmp_path)
    put(tmp_path / "keys", name, text)
    found = refusal(settings)
    assert words in found and (not text or text not in found)


def test_an_ed25519_key_is_known_by_itself_and_other_pem_keys_are_refused(tmp_path: Path) -> None:
    settings = house(tmp_path)
    private = pem()
    put(tmp_path / "keys", "arbitrage-binance-secret", private)
    keys = read_keys(settings, {})
    assert (keys["binance"].kind, keys["binance"].secret()) == ("ed25519", private.strip())
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for other in (
        pem(b"password"), b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n",
        rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ):  # fmt: skip
        put(tmp_path / "keys", "arbitrage-binance-secret", other)
        assert "is no unencrypted Ed25519 private key" in refusal(settings)


def test_a_venue_that_takes_no_pem_key_says_so(tmp_path: Path) -> None:
    settings = house(tmp_path)
    put(tmp_path / "keys", "arbitrage-upbit-secret", pem())
    assert "is a PEM key, which upbit does not take" in refusal(settings)


def test_the_redactor_hides_a_key_in_every_form_and_each_line_of_a_pem(tmp_path: Path) -> None:
    settings = house(tmp_path)
    private = pem()
    put(tmp_path / "keys", "arbitrage-binance-secret", private)
    keys = read_keys(settings, {})
    redactor = Redactor(hidden_texts(keys))
    loaded = load_pem_private_key(private, None)
    assert isinstance(loaded, ed25519.Ed25519PrivateKey)
    seed = loaded.private_bytes_raw()
    body = private.decode().splitlines()[1]
    for text in (ACCESS, SECRET, SECRET.encode().hex(), body, seed.hex(), b64encode(seed).decode(), private.decode()):
        redacted = redactor.redact(f"<{text}>")
        assert text not in redacted and body not in redacted, redacted
    assert body not in redactor.redact(msgspec.json.encode(private.decode()).decode())
    assert "***" in redactor.redact(SECRET)
    assert repr(keys) == "{'binance': Credentials(<hidden>), 'upbit': Credentials(<hidden>)}"


def alert_house(folder: Path, kind: str, secret: str | None, **more: object) -> Settings:
    """Give settings with one channel, and its secret where secrets lie."""
    folder.chmod(0o700)
    if secret is not None:
        (folder / "arbitrage-alert-ops").write_text(secret)
        (folder / "arbitrage-alert-ops").chmod(0o600)
    tree = {"venues": {}, "keys_dir": str(folder), "alerts": {"channels": {"ops": {"kind": kind, **more}}}}
    return msgspec.convert(tree, Settings)


CANARY = "c4n4ry-S3CR3T-0123456789"


@pytest.mark.parametrize(
    ("kind", "secret", "words"),
    [
        ("webhook", CANARY, ""), ("telegram", "12:abc", ""), ("slack", f"https://hooks.example/{CANARY}", ""),
        ("discord", f"http://127.0.0.1:1/{CANARY}", ""), ("webhook", "short", "is shorter than 16 characters"),
        ("slack", f"http://hooks.example/{CANARY}", "is no address that begins with https://"),
        ("discord", CANARY, "is no address that begins with https://"),
        ("telegram", f"{CANARY} {CANARY}", "holds a space or a line break"), ("webhook", None, "is missing"),
    ],
)  # fmt: skip
def test_the_secret_of_a_channel_is_read_like_a_key_and_never_shown(
    tmp_path: Path, kind: str, secret: str | None, words: str
) -> None:
    settings = alert_house(tmp_path, kind, secret)
    if not words:
        assert read_channel_keys(settings, {}) == {"ops": secret}
        return
    with pytest.raises(ConfigError) as refused:
        read_channel_keys(settings, {})
    assert words in str(refused.value) and "arbitrage-alert-ops" in str(refused.value) and CANARY not in str(refused.value)


def test_mail_without_a_user_has_no_secret_and_a_file_for_all_to_read_is_refused(tmp_path: Path) -> None:
    assert read_channel_keys(alert_house(tmp_path, "email", None), {}) == {}
    settings = alert_house(tmp_path, "email", CANARY, smtp_user="bot")
    assert read_channel_keys(settings, {}) == {"ops": CANARY}
    (tmp_path / "arbitrage-alert-ops").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        read_channel_keys(settings, {})
