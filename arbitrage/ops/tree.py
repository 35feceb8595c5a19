"""A configuration before it has types: nested keys whose every leaf remembers where it came from. Interprets no value."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

KeyPath = tuple[str, ...]


class Origin(msgspec.Struct, frozen=True):
    """Where a value was written."""

    source: str
    """A file, `environment variable NAME`, a scenario's name, `credential NAME` or `default`."""
    line: int | None = None
    is_secret: bool = False
    """What comes from here is never shown."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def at(self, path: KeyPath) -> str:
        """Name the key beside the place, for a message."""
        return f"{self} {'.'.join(path)}" if path else str(self)


class Leaf(msgspec.Struct, frozen=True):
    """A value as it was written. `item_lines` are those of a list's elements."""

    value: object
    origin: Origin
    item_lines: tuple[int, ...] = ()
    is_text: bool = False
    """Came as bare text (environment, secret): it is read as whatever type its key has."""


class Branch(msgspec.Struct, frozen=True):
    """A block of keys."""

    children: dict[str, Node]
    origin: Origin


Node = Branch | Leaf
DEFAULT = Origin("default")


def merge(lower: Branch, upper: Branch) -> Branch:
    """Lay `upper` over `lower`: blocks merge key by key, anything else (lists too) replaces what was there."""
    children = dict(lower.children)
    for key, node in upper.children.items():
        below = children.get(key)
        children[key] = merge(below, node) if isinstance(below, Branch) and isinstance(node, Branch) else node
    return Branch(children, lower.origin if lower.children else upper.origin)


def plant(path: KeyPath, leaf: Leaf) -> Branch:
    """Make the smallest tree that holds `leaf` at `path`."""
    assert path, "a leaf has a key"
    node: Node = leaf
    for key in reversed(path[1:]):
        node = Branch({key: node}, leaf.origin)
    return Branch({path[0]: node}, leaf.origin)


def leaves(branch: Branch, prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Leaf]]:
    """Walk all leaves in the order they were written."""
    for key, node in branch.children.items():
        if isinstance(node, Branch):
            yield from leaves(node, (*prefix, key))
        else:
            yield (*prefix, key), node


def from_values(values: object, origin: Origin) -> Node:
    """Give plain nested dictionaries one common origin (a scenario's overlay)."""
    if isinstance(values, dict):
        return Branch({str(key): from_values(value, origin) for key, value in values.items()}, origin)
    return Leaf(values, origin)


def find(branch: Branch, path: KeyPath) -> Node | None:
    """Return what stands at `path`."""
    node: Node | None = branch
    for key in path:
        if not isinstance(node, Branch):
            return None
        node = node.children.get(key)
    return node


def without(branch: Branch, path: KeyPath) -> Branch:
    """Return the tree without what stands at `path`."""
    children = dict(branch.children)
    child = children.pop(path[0], None)
    if len(path) > 1 and isinstance(child, Branch):
        children[path[0]] = without(child, path[1:])
    return Branch(children, branch.origin)
