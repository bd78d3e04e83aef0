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

from cell_train.config.yaml import syntax_errors
from cell_train.config.yaml.syntax_errors import indent_of
from cell_train.errors import Place, Problem, collecting
from cell_train.storage import open_plain

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 20_000  # after aliases are followed
TAB_WIDTHS = (2, 4, 8)  # spaces that a tab may have been meant for
MAX_MENDED = 20  # lines of a text that are no `key: value` and are read all the same

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Node:
    """A value with its place: `value` is a scalar, a list of nodes, or a dict of nodes."""

    value: Any
    where: Place
    source: str  # for provenance: "stage3.yaml:12"
    key_where: Place | None = None  # where its key stands, when it is a mapping's entry
    text: str = ""  # a scalar as it was written
    size: int = 1  # nodes in it, aliases followed


def read(path: Path, wrong: list[Problem], name: str | None = None) -> Node | None:
    """The tree of one file, called `name` in errors and sources (its path, if not given).

    None when it cannot be read, is too large, is not UTF-8 or is not YAML. `wrong` grows by the
    reason, and by what is wrong in a tree that could be read (a key written twice, a tag).
    """
    name = name or str(path)
    try:
        with open_plain(path, follow=True) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        wrong.append(Problem(Place(name), f"cannot be read ({error.strerror})"))
        return None
    if len(raw) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES >> 20} MiB, which no stage file is"
        wrong.append(Problem(Place(name), message))
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        begin = before.rfind(b"\n") + 1
        line = raw[begin:].split(b"\n", 1)[0].decode(errors="replace")
        column = len(before[begin:].decode(errors="replace")) + 1
        place = Place(name, before.count(b"\n") + 1, column, line)
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        wrong.append(Problem(place, message, "save the file as UTF-8"))
        return None
    return parse(text, name, wrong)


def parse(text: str, name: str, wrong: list[Problem]) -> Node | None:
    """The tree of a text, as `read` reads it.

    Where tabs in the indentation, or lines that are no `key: value`, are all that is wrong with the
    syntax, the tree is what the text says once they are mended.
    """
    found: list[Problem] = []
    root = _build(text, _Builder(name, text), found)
    indented = [line for line in _lines(text) if "\t" in indent_of(line)]
    if root is not None or not indented:
        wrong += found
        return root or _read_on(text, name, wrong)
    for number, line in enumerate(_lines(text), 1):
        if "\t" in indent_of(line):
            place = Place(name, number, line.index("\t") + 1, line)
            wrong.append(Problem(place, "a tab indents this line", "write spaces, never tabs"))
    for width in TAB_WIDTHS:
        found = []
        spaced = "\n".join(
            line.expandtabs(width) if "\t" in indent_of(line) else line for line in _lines(text)
        )
        root = _build(spaced, _Builder(name, text, width), found)
        if root is not None:
            wrong += found
            break
    return root


def _read_on(text: str, name: str, wrong: list[Problem]) -> Node | None:
    """The tree of a text once the line of the last problem is mended, and those found after it."""
    for _ in range(MAX_MENDED):
        lines, place = _lines(text), wrong[-1].place
        mended = syntax_errors.mended(place.text)
        if mended is None:
            return None
        lines[place.line - 1] = mended
        text = "\n".join(lines)
        if root := _build(text, _Builder(name, text), wrong):
            return root
    return None


def _lines(text: str) -> list[str]:
    return _LINE_BREAK.split(text)


def _build(text: str, builder: "_Builder", wrong: list[Problem]) -> Node | None:
    """The tree of a text; None where it has none."""
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        deep = _too_deep(text, error.problem_mark, builder)
        wrong.append(deep or syntax_errors.problem(error, builder.lines, builder.at))
    except yaml.YAMLError as error:
        wrong.append(syntax_errors.unreadable(error, builder.lines, builder.name))
    except _Refused as error:
        wrong.append(error.problem)
    else:
        wrong += builder.wrong
        return builder.root or Node({}, Place(builder.name), builder.name)
    return None


def _too_deep(text: str, mark: Any, stopped: "_Builder") -> Problem | None:
    """Where a text that the parser could not read past `mark` is nested too deep before it.

    The parser reads on as long as what it reads may be a key, and has a limit of its own that
    changes from version to version, so it may stop before the builder has seen any of it.
    """
    if mark is None:
        return None
    lines = _lines(text)[: mark.line + 1]
    before = "\n".join([*lines[:-1], lines[-1][: mark.column]])
    builder = _Builder(stopped.name, stopped.text, stopped.tab)
    try:
        for event in yaml.parse(before, Loader=_Loader):
            builder.take(event)
    except _TooDeep as error:
        return error.problem
    except (yaml.YAMLError, _Refused):
        pass
    return None


def plain(node: Node) -> Any:
    """The tree as ordinary dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def load(path: Path) -> Any:
    """A file of the package's own making as plain values."""
    with collecting() as wrong:
        root = read(path, wrong)
    return plain(root) if root else None


def dump(values: Mapping[str, Any]) -> str:
    """YAML text that `load` reads back to equal values."""
    return yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=1 << 30,  # a value stays on its line
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
    if not value.isprintable():
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)


def _plain_value(text: str) -> Any:
    """An unquoted scalar's value by the core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > 40:  # no number anyone means; also keeps int() from billion-digit ones
        return text
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


class _Refused(Exception):
    """The text is YAML that is not read any further."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _TooDeep(_Refused):
    """It is nested deeper than MAX_DEPTH."""


class _Builder:
    """Turns parser events into nodes; one open container per level of `stack`."""

    def __init__(self, name: str, text: str, tab: int = 0) -> None:
        self.name, self.text, self.lines = name, text, _lines(text)
        self.tab = tab  # spaces that stand for a tab of the text in what the parser sees
        self.root: Node | None = None
        self.anchors: dict[str, Node] = {}
        self.stack: list[tuple[Any, Any, list[Node]]] = []  # (start event, dict or list, keys)
        self.documents = 0
        self.wrong: list[Problem] = []  # what does not hinder reading on

    def at(self, mark: Any) -> Place:
        if mark is None:
            return Place(self.name)
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        shift = len(indent_of(line).expandtabs(self.tab)) - len(indent_of(line)) if self.tab else 0
        return Place(self.name, mark.line + 1, max(1, mark.column + 1 - shift), line)

    def node(self, event: Any, value: Any, size: int = 1) -> Node:
        source = f"{self.name}:{event.start_mark.line + 1}"
        text = event.value if isinstance(event, yaml.ScalarEvent) else ""
        return Node(value, self.at(event.start_mark), source, text=text, size=size)

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents == 2:
                self.note(event, "a second document begins here", "keep one stage a file")
        elif self.documents > 1:
            return
        elif isinstance(event, yaml.AliasEvent):
            if str(event.anchor) not in self.anchors:
                message = f"alias *{event.anchor} has no anchor &{event.anchor} before it"
                self.refuse(event, message, "quote text that begins with *")
            self.place(event, self.anchors[str(event.anchor)])
        elif isinstance(event, yaml.ScalarEvent):
            self.check_tag(event)
            value = event.value if event.style else _plain_value(event.value)
            self.finish(event, self.node(event, value))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.check_tag(event)
            if len(self.stack) >= MAX_DEPTH:
                message = f"is nested deeper than {MAX_DEPTH} levels"
                fix = "close what is open, or write it flatter"
                raise _TooDeep(Problem(self.at(event.start_mark), message, fix))
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
            self.enter(container, key, replace(node, key_where=key.where))
        else:
            if isinstance(node.value, (dict, list)):
                self.refuse(
                    event, "a key must be plain text", syntax_errors.template_fix(node.where)
                )
            keys.append(node)

    def enter(self, container: dict[str, Node], key: Node, node: Node) -> None:
        """An entry of a mapping; a second one of the same key is checked where it can be."""
        if key.text == "<<":
            message, fix = "keys of another section are not merged in", "write the keys themselves"
            self.wrong.append(Problem(key.where, message, fix))
            return
        first = container.setdefault(key.text, node)
        if first is node:
            return
        both = isinstance(first.value, dict) and isinstance(node.value, dict)
        line = first.key_where.line if first.key_where else 0
        message = f"{key.text!r} is written twice, first on line {line}"
        fix = "write the keys of both under one" if both else "keep one of them"
        self.wrong.append(Problem(key.where, message, fix))
        if both:
            merged = {**node.value, **first.value}
            container[key.text] = replace(first, value=merged, size=first.size + node.size)

    def check_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            self.note(event, f"tag {event.tag} is not allowed", "write plain values")

    def note(self, event: Any, message: str, fix: str = "") -> None:
        self.wrong.append(Problem(self.at(event.start_mark), message, fix))

    def refuse(self, event: Any, message: str, fix: str = "") -> None:
        raise _Refused(Problem(self.at(event.start_mark), message, fix))
