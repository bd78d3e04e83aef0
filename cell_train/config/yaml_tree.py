"""The one YAML reader: text to a tree whose every node knows where it stands.

Scalars follow YAML 1.2's core schema, not 1.1's: `1e-5` is a number, and `on`, `yes`, `012` and
`1:30` are text, which the check against the schema then reports where a number or a truth
value belongs. The tree is built from parser events without recursion, with limits on size,
depth and aliases, because stage files may come from strangers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cell_train.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 20_000  # after aliases are followed

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Node:
    """A value with its place: `value` is a scalar, a list of nodes, or a dict of nodes."""

    value: Any
    where: str  # for errors: "stage3.yaml:12:5", or what else set it
    source: str  # for provenance: "stage3.yaml:12"
    key_where: str = ""  # where its key stands, when it is a mapping's entry
    text: str = ""  # a scalar as it was written
    size: int = 1  # nodes in it, aliases followed


def read(path: Path, name: str | None = None) -> Node:
    """The tree of one file, called `name` in errors and sources (its path, if not given).

    Raises ConfigError when it cannot be read, is too large, is not UTF-8 or is not YAML.
    """
    name = name or str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than {MAX_BYTES >> 20} MiB, which no stage file is.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{name}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8."
        ) from None
    return parse(text, name)


def parse(text: str, name: str, *, located: bool = True) -> Node:
    """The tree of a text; `located` says whether line numbers in `name` mean anything."""
    builder = _Builder(name, located)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{builder.at(error.problem_mark)}: {_problem(error)}.") from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{name}: is not YAML: {reason}.") from None
    return builder.root or Node({}, builder.at(None), name)


def plain(node: Node) -> Any:
    """The tree as ordinary dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def load(path: Path) -> Any:
    """A file of the package's own making as plain values."""
    return plain(read(path))


def dump(values: Mapping[str, Any]) -> str:
    """YAML text that `load` reads back to equal values."""
    return yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
    )


_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes floats such as 1e-05 so that every YAML reader takes them for numbers."""


def _represent_float(dumper: Any, value: float) -> Any:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: Any, value: str) -> Any:
    style = None if isinstance(_plain_value(value), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "is not YAML"
    if "tab" in problem or "cannot start any token" in problem:
        return f"{problem} (YAML indents with spaces, never tabs)"
    if error.context and error.context_mark:
        return f"{error.context} begun on line {error.context_mark.line + 1}, {problem}"
    return problem


def _plain_value(text: str) -> Any:
    """An unquoted scalar's value by the core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > 40:  # no number anyone means; also keeps int() from billion-digit ones
        return text
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


class _Builder:
    """Turns parser events into nodes; one open container per level of `stack`."""

    def __init__(self, name: str, located: bool) -> None:
        self.name, self.located = name, located
        self.root: Node | None = None
        self.anchors: dict[str, Node] = {}
        self.stack: list[tuple[Any, Any, list[Node]]] = []  # (start event, dict or list, keys)
        self.documents = 0

    def at(self, mark: Any) -> str:
        if mark is None or not self.located:
            return self.name
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def node(self, event: Any, value: Any, size: int = 1) -> Node:
        line = f"{self.name}:{event.start_mark.line + 1}" if self.located else self.name
        text = event.value if isinstance(event, yaml.ScalarEvent) else ""
        return Node(value, self.at(event.start_mark), line, text=text, size=size)

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.refuse(event, "a second document begins; keep one stage a file")
        elif isinstance(event, yaml.AliasEvent):
            if str(event.anchor) not in self.anchors:
                self.refuse(event, f"alias *{event.anchor} has no anchor &{event.anchor} before it")
            self.place(event, self.anchors[str(event.anchor)])
        elif isinstance(event, yaml.ScalarEvent):
            self.check_tag(event)
            value = event.value if event.style else _plain_value(event.value)
            self.finish(event, self.node(event, value))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.check_tag(event)
            if len(self.stack) >= MAX_DEPTH:
                self.refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
            empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append((event, empty, []))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            start, children, _ = self.stack.pop()
            inner = children.values() if isinstance(children, dict) else children
            self.finish(start, self.node(start, children, 1 + sum(c.size for c in inner)))

    def finish(self, event: Any, node: Node) -> None:
        if event.anchor:
            self.anchors[event.anchor] = node
        self.place(event, node)

    def place(self, event: Any, node: Node) -> None:
        """Put a finished node into the container that is open."""
        if node.size > MAX_NODES:
            self.refuse(event, f"aliases unfold to more than {MAX_NODES} values")
        if not self.stack:
            self.root = node
            return
        _, container, keys = self.stack[-1]
        if isinstance(container, list):
            container.append(node)
        elif keys:
            key = keys.pop()
            container[key.text] = replace(node, key_where=key.where)
        else:
            if isinstance(node.value, (dict, list)):
                self.refuse(event, "a key must be plain text")
            if node.text in container:
                first = container[node.text].key_where.removeprefix(self.name + ":").split(":")[0]
                self.refuse(event, f"{node.text!r} is written twice, first on line {first}")
            keys.append(node)

    def check_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            self.refuse(event, f"tag {event.tag} is not allowed; write plain values")

    def refuse(self, event: Any, sentence: str) -> None:
        raise ConfigError(f"{self.at(event.start_mark)}: {sentence}.")
