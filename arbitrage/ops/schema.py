"""The settings' types seen from a tree: checks every key and value and lists all problems. Refuses to guess or to convert.

The types themselves are in `model/settings.py`; nothing about a particular key is known here, except which ones are secret.
"""

from __future__ import annotations

import difflib
import re
import typing

import msgspec
from msgspec import inspect

from arbitrage.model.settings import Settings
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.tree import Branch, KeyPath, Leaf, Node
from arbitrage.ops.yaml_source import read_value

SECRET_KEYS = frozenset({("store", "postgres_password"), ("store", "redis_password")})
SHOWN_LENGTH_MAX = 60
_ENUM = re.compile(r"Invalid enum value .*", re.DOTALL)
"""The one message of msgspec that quotes the value, which may be a secret."""
_PLACE = re.compile(r" - at `\$(?:\[(\d+)\])?[^`]*`")


def is_secret(path: KeyPath) -> bool:
    """Tell whether a key's value is never shown."""
    return path in SECRET_KEYS


def type_at(path: KeyPath) -> typing.Any:
    """Return the declared type of a key, or None where the settings have no such key."""
    here: typing.Any = Settings
    for key in path:
        if _is_section(here):
            here = _fields(here).get(key)
        elif typing.get_origin(here) is dict:
            here = typing.get_args(here)[1]
        else:
            return None
    return here


def known_keys(path: KeyPath) -> tuple[str, ...]:
    """Return the declared keys of the section at `path`; nothing for a map with free names or a plain value."""
    here = type_at(path)
    return tuple(_fields(here)) if _is_section(here) else ()


def with_types(tree: Branch, path: KeyPath = ()) -> Branch:
    """Read every bare-text leaf as the type of its key; text that does not fit stays text, for `check` to refuse.

    Raises ConfigError for text that is not UTF-8.
    """
    problems: list[Problem] = []
    children: dict[str, Node] = {}
    for key, node in tree.children.items():
        here = (*path, key)
        try:
            children[key] = with_types(node, here) if isinstance(node, Branch) else _typed_leaf(node, here)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return Branch(children, tree.origin)


def check(tree: Branch) -> list[Problem]:
    """List every unknown key, missing key, wrong type and value out of range."""
    problems: list[Problem] = []
    _check_section(tree, Settings, (), problems)
    return problems


def plain(tree: Branch) -> dict[str, object]:
    """Strip a tree to the plain values that `msgspec.convert` takes."""
    return {key: plain(node) if isinstance(node, Branch) else node.value for key, node in tree.children.items()}


def _is_section(kind: typing.Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fields(section: typing.Any) -> dict[str, typing.Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section)}


def _typed_leaf(leaf: Leaf, path: KeyPath) -> Node:
    if not leaf.is_text:
        return leaf
    text = leaf.value
    assert isinstance(text, str), "bare text is text"
    kind = type_at(path)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError([Problem(leaf.origin.at(path), "is not UTF-8 text", "write it as UTF-8")])
    if kind is None or _is_text_type(kind):
        return Leaf(text, leaf.origin)
    try:
        return read_value(text, leaf.origin)
    except ConfigError:  # not even YAML: the type's own message says better what is wanted
        return Leaf(text, leaf.origin)


def _is_text_type(kind: typing.Any) -> bool:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.LiteralType):
        return all(isinstance(value, str) for value in info.values)
    if isinstance(info, inspect.UnionType):
        return any(isinstance(member, inspect.StrType) for member in info.types)
    return isinstance(info, inspect.StrType)


def _check_section(branch: Branch, section: typing.Any, path: KeyPath, problems: list[Problem]) -> None:
    declared = _fields(section)
    for key, node in branch.children.items():
        here = (*path, key)
        if key not in declared:
            problems.append(Problem(node.origin.at(here), "is an unknown key", _nearest(key, list(declared))))
        else:
            _check_node(node, declared[key], here, problems)
    for field in msgspec.structs.fields(section):
        if field.required and field.name not in branch.children:
            missing = branch.origin.at((*path, field.name))
            problems.append(Problem(missing, "is required and missing", f"add `{field.name}:` ({_wanted(field.type)})"))


def _check_node(node: Node, kind: typing.Any, path: KeyPath, problems: list[Problem]) -> None:
    if _is_section(kind):
        if isinstance(node, Branch):
            _check_section(node, kind, path, problems)
        else:
            mend = "indent its keys below it, or remove it"
            problems.append(Problem(node.origin.at(path), "is not a block of settings", mend))
    elif typing.get_origin(kind) is dict and isinstance(node, Branch):
        key_kind, value_kind = typing.get_args(kind)
        for key, child in node.children.items():
            _check_key(key, key_kind, child, (*path, key), problems)
            _check_node(child, value_kind, (*path, key), problems)
    elif isinstance(node, Branch):
        problems.append(Problem(node.origin.at(path), "is a block of keys but should be one value", _mend(kind)))
    else:
        _check_value(node, kind, path, problems)


def _check_key(key: str, kind: typing.Any, node: Node, path: KeyPath, problems: list[Problem]) -> None:
    try:
        msgspec.convert(key, kind)
    except msgspec.ValidationError:
        problems.append(Problem(node.origin.at(path), "is not a name", "use letters, digits, `_`, `.` and `-`, at most 64"))


def _check_value(leaf: Leaf, kind: typing.Any, path: KeyPath, problems: list[Problem]) -> None:
    try:
        msgspec.convert(leaf.value, kind)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        item = int(place.group(1)) if place and place.group(1) else None
        reason = _ENUM.sub("unknown word", _PLACE.sub("", str(error))).replace("`", "")
        origin, value = leaf.origin, leaf.value
        if item is not None and isinstance(value, list) and item < len(value):
            value = value[item]
            origin = msgspec.structs.replace(origin, line=leaf.item_lines[item]) if leaf.item_lines else origin
        shown = "***" if origin.is_secret or is_secret(path) else repr(value)
        shown = shown if len(shown) <= SHOWN_LENGTH_MAX else shown[:SHOWN_LENGTH_MAX] + "..."
        problems.append(Problem(origin.at(path), f"{shown} is refused ({reason})", _mend(kind)))


def _nearest(key: str, declared: list[str]) -> str:
    close = difflib.get_close_matches(key, declared, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(declared)}"


def _mend(kind: typing.Any) -> str:
    return f"write {_wanted(kind)}"


def _wanted(kind: typing.Any) -> str:
    info = inspect.type_info(kind)
    match info:
        case inspect.StructType() | inspect.DictType():
            return "a block of keys"
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) for value in info.values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            return f"{noun} from {info.ge} to {info.le}" if info.ge is not None and info.le is not None else noun
        case inspect.StrType():
            is_decimal = info.pattern is not None and r"\d" in info.pattern
            return "a decimal number in quotes, at most 8 decimals" if is_decimal else "text" + _of_pattern(info.pattern)
        case inspect.VarTupleType() | inspect.ListType():
            return "a list, such as [A, B]"
        case _:
            return "a value of its type"


def _of_pattern(pattern: str | None) -> str:
    return "" if pattern is None else f" that matches {pattern}"
