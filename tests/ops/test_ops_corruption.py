"""Broken configuration files: whatever is in them, the outcome is a whole configuration or a ConfigError, nothing between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_config_files import BASE, write_config

from arbitrage.model.settings import Settings
from arbitrage.ops.config import compare, flat, load
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.yaml_source import read_bytes

CORRUPTIONS = 1_000
_ODDITIES = (
    b"", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"&a ", b"*a", b"!!python/object/apply:os.system ", b"<<: ", b"? ", b"- ", b"{",
    b"}", b"[", b"]", b"|", b">", b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"\t", b"\n", b": ", b"#", b"'", b'"',
    b'"\\UFFFFFFFF"',
    b"-1", b"1e999", b".nan", b".inf", b"0x10", b"010", b"1:30", b"yes", b"~", b"2026-11-21", b"9" * 60, b"${X}",
    b"x: 1\nx: 2\n",
)


def corrupted(raw: bytes, dice: random.Random) -> bytes:
    """Hurt a file as disks, editors and hands do: cut, doubled, flipped, mixed, with odd words."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(raw) + 1)
        match dice.randrange(6):
            case 0:
                raw = raw[:at]
            case 1:
                raw = raw[:at] + dice.choice(_ODDITIES) + raw[at:]
            case 2:
                raw = raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]
            case 3:
                lines = raw.split(b"\n")
                dice.shuffle(lines)
                raw = b"\n".join(lines)
            case 4:
                end = min(len(raw), at + dice.randrange(40))
                raw = raw[:end] + raw[at:end] + raw[end:]
            case _:
                word = dice.choice(raw.split() or [b"x"])
                raw = raw.replace(word, dice.choice(_ODDITIES), dice.randint(1, 3))
    return raw


def test_a_thousand_corrupted_configurations_are_refused_whole_or_read_whole(tmp_path: Path) -> None:
    secrets = "store:\n  postgres_password: ${PGPASS:-hunter2}\n"
    folder = write_config(tmp_path, development="risk:\n  open_plans_max: 3\n", secrets=secrets)
    running = load(folder, {})
    files = [folder / "base.yaml", folder / "environments" / "development.yaml", folder / "secrets.yaml"]
    originals = [file.read_bytes() for file in files]
    refused = 0
    for seed in range(CORRUPTIONS):
        dice = random.Random(seed)
        chosen = dice.randrange(len(files))
        files[chosen].write_bytes(corrupted(originals[chosen], dice))
        try:
            loaded = load(folder, {})
        except ConfigError as error:
            refused += 1
            assert all("\n" not in str(problem) and "; " in str(problem) for problem in error.problems), seed
            assert "hunter2" not in str(error), seed
        else:
            assert type(loaded.settings) is Settings and set(loaded.origins) == set(flat(loaded.settings)), seed
            compare(running, loaded)
        files[chosen].write_bytes(originals[chosen])
    assert flat(running.settings) == flat(load(folder, {}).settings)
    assert refused > CORRUPTIONS // 2


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_a_refusal(raw: bytes) -> None:
    try:
        read_bytes(raw, "file.yaml")
    except ConfigError as error:
        assert str(error).startswith("file.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#,?\n\t ~<=${}\\0x17.e"), max_size=60))
def test_any_yaml_like_text_is_a_tree_or_a_refusal(text: str) -> None:
    try:
        read_bytes(text.encode(), "file.yaml")
    except ConfigError as error:
        assert str(error).startswith("file.yaml")


@settings(max_examples=100, deadline=None)
@given(name=st.text(alphabet="ABRISKVENUES_", max_size=20), text=st.text(max_size=20))
def test_any_environment_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "environment-corruption"
    if not folder.exists():
        write_config(folder, base=BASE)
    try:
        load(folder, {f"ARBITRAGE__{name}": text, "REDIS_DB": text})
    except ConfigError as error:
        assert error.problems
