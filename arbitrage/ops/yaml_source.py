"""One YAML file as a tree with line numbers. Refuses duplicate keys, anchors, tags, and what YAML 1.1 reads in surprising ways.

`no` is not false here, `1:30` is not ninety, `010` is not eight: whoever writes such a thing is asked to say what is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.tree import Branch, KeyPath, Leaf, Node, Origin

FILE_BYTES_MAX = 1_000_000
DEPTH_MAX = 16
NUMBER_LENGTH_MAX = 40
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)\.[0-9]+(e[-+]?[0-9]{1,3})?\Z")


def read_file(path: Path) -> Branch:
    """Read a YAML file into a tree. Raises ConfigError with every problem of the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        mend = "check the path and its permissions"
        raise ConfigError([Problem(str(path), f"cannot be read ({error.strerror})", mend)]) from None
    return read_bytes(raw, str(path))


def read_bytes(raw: bytes, source: str, *, is_text: bool = False) -> Branch:
    """Read YAML bytes into a tree; `source` names them in messages. Raises ConfigError.

    With `is_text` no scalar is interpreted: every leaf keeps its bare text for its key's type to read later (secrets).
    """
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError([Problem(source, f"is larger than {FILE_BYTES_MAX} bytes", "this is not a configuration file")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(source, f"is not UTF-8 at byte {error.start}", "save it as UTF-8")]) from None
    root = _compose(text, source)
    if root is None:
        return Branch({}, Origin(source, 1))
    reader = _Reader(source, is_text)
    node = reader.node(root, ())
    if isinstance(node, Leaf):
        reader.complain(root, (), "holds no block of settings", "write `section:` and indented `key: value` lines")
    if reader.problems:
        raise ConfigError(reader.problems)
    assert isinstance(node, Branch), "a leaf at the root was complained about"
    return node


def read_value(text: str, origin: Origin) -> Node:
    """Read bare text (environment variable, secret) as one YAML value. Raises ConfigError, which never holds the text."""
    root = _compose(text, str(origin))
    if root is None:
        return Leaf(None, origin)
    reader = _Reader(origin.source)
    node = reader.node(root, ())
    if reader.problems:
        raise ConfigError([Problem(str(origin), problem.what, problem.mend) for problem in reader.problems])
    return _relocated(node, origin)


def _relocated(node: Node, origin: Origin) -> Node:
    """Give a whole value one origin: line numbers inside an environment variable help nobody."""
    if isinstance(node, Branch):
        return Branch({key: _relocated(child, origin) for key, child in node.children.items()}, origin)
    return Leaf(node.value, origin)


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        _require_plain_structure(text, source)
        loader = yaml.SafeLoader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        mend = "check indentation, quotes and colons on that line"
        raise ConfigError([Problem(f"{source}{line}", f"is not YAML ({error.problem or error.context})", mend)]) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # bad characters and escapes leave the scanner as these
        mend = "save it as plain UTF-8 text"
        raise ConfigError([Problem(source, "holds a character that YAML does not allow", mend)]) from None
    return node


def _require_plain_structure(text: str, source: str) -> None:
    """Walk the parser's events (no recursion there) before composing, which does recurse and follows aliases."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = str(source) if event.start_mark is None else f"{source}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError([Problem(where, "uses an anchor or alias", "write the value out where it belongs")])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise ConfigError([Problem(where, f"is nested deeper than {DEPTH_MAX}", "no setting lies that deep")])


class _Reader:
    """Turns composed nodes into tree nodes and collects what is wrong."""

    def __init__(self, source: str, is_text: bool = False) -> None:
        self.source = source
        self.is_text = is_text
        self.problems: list[Problem] = []

    def complain(self, node: yaml.Node, path: KeyPath, what: str, mend: str) -> None:
        self.problems.append(Problem(self._origin(node).at(path), what, mend))

    def node(self, node: yaml.Node, path: KeyPath, origin: Origin | None = None) -> Node:
        where = origin or self._origin(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, where)
        if isinstance(node, yaml.SequenceNode):
            items = [self._item(child, path) for child in node.value]
            return Leaf(items, where, tuple(child.start_mark.line + 1 for child in node.value))
        return Leaf(self._scalar(node, path), where, is_text=self.is_text)

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, origin: Origin) -> Branch:
        children: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str) or not key or (key == "<<" and key_node.style is None):
                self.complain(key_node, path, "has a key that is not a plain word", "write `name: value`")
            elif key in children:
                first = children[key].origin.line
                self.complain(key_node, (*path, key), f"is written twice (first on line {first})", "remove one of the two")
            else:
                children[key] = self.node(value_node, (*path, key), Origin(self.source, key_node.start_mark.line + 1))
        return Branch(children, origin)

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self.complain(node, path, "has a list element that is not a plain value", "write one value an element")
        return None

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text = str(node.value)
        convert = _text if self.is_text else _SCALARS.get(node.tag.removeprefix(_TAG))
        try:
            if convert is None or not node.tag.startswith(_TAG):
                raise ValueError("is of a kind no setting has")
            return convert(text)
        except ValueError as error:
            self.complain(node, path, str(error), "put text in quotes, write true or false, and plain decimal numbers")
            return None


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character") from None
    if "\x00" in text:
        raise ValueError("holds a null character")
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("could mean true, false or text")
    return text.lower() == "true"


def _integer(text: str) -> int:
    if not _INTEGER.match(text) or len(text) > NUMBER_LENGTH_MAX:
        raise ValueError("is not a plain decimal number")
    return int(text.replace("_", ""))


def _decimal(text: str) -> float:
    if not _DECIMAL.match(text) or len(text) > NUMBER_LENGTH_MAX:
        raise ValueError("is not a plain decimal number")
    return float(text.replace("_", ""))


_SCALARS: dict[str, Callable[[str], object]] = {
    "str": _text,
    "bool": _truth,
    "int": _integer,
    "float": _decimal,
    "null": lambda text: None,
}
