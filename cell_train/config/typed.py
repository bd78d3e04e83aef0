"""Trees against dataclasses: what is wrong with a tree, and a dataclass made of a sound one."""

import difflib
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

from cell_train.config import rules
from cell_train.config.yaml_tree import Node

T = TypeVar("T")
_BOOLEAN_WORDS = {"on": "true", "yes": "true", "y": "true"} | dict.fromkeys(
    ("off", "no", "n"), "false"
)


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Field names of a dataclass with their types."""
    return typing.get_type_hints(cls)


def options(kind: Any) -> tuple[Any, bool]:
    """(the type without None, whether None is allowed)."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [option for option in typing.get_args(kind) if option is not type(None)]
        return inner[0], True
    return kind, False


def keys(cls: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key a tree of `cls` may hold, sections included, with its type."""
    for name, kind in hints(cls).items():
        inner, _ = options(kind)
        yield prefix + name, kind
        if is_dataclass(inner):
            yield from keys(typing.cast(type, inner), f"{prefix}{name}.")


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)', or nothing when no known word is near.

    A dotted key is also found by its last part alone, since the section is what people forget.
    """
    words = list(known)
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if not found or "." not in word:
        last = {key.rsplit(".", 1)[-1]: key for key in reversed(words)}
        if not found or word.rsplit(".", 1)[-1] in last:
            near = difflib.get_close_matches(word.rsplit(".", 1)[-1], last, n=1, cutoff=0.75)
            found = [last[near[0]]] if near else found
    return f" (did you mean {found[0]}?)" if found else ""


def problems(node: Node, cls: type, prefix: str = "") -> Iterator[str]:
    """Everything wrong with a tree meant for `cls`, a located sentence each."""
    if not isinstance(node.value, dict):
        yield f"{node.where}: {_called(prefix)} must be a section of keys, not {_shown(node)}."
        return
    fields = hints(cls)
    for name, child in node.value.items():
        dotted = prefix + name
        if name not in fields:
            known = [key for key, _ in keys(cls, prefix)]
            nested = " (write it as a key inside its section)"
            guess = nested if dotted in known else nearest(dotted, known)
            yield f"{child.key_where or child.where}: unknown key {dotted!r}{guess}."
            continue
        kind, may_be_null = options(fields[name])
        if is_dataclass(kind):
            if child.value is not None:  # a bare `training:` says nothing
                yield from problems(child, typing.cast(type, kind), f"{dotted}.")
        elif child.value is None and may_be_null:
            continue
        elif wrong := _mismatch(child, kind) or rules.broken(dotted, plain_value(child, kind)):
            yield f"{child.where}: {dotted} {wrong}, not {_shown(child)}."


def plain_value(node: Node, kind: Any) -> Any:
    """A leaf's value as its field wants it: text as written, whole numbers as floats."""
    if kind is str and not isinstance(node.value, str):
        return node.text
    if isinstance(node.value, list):
        (inner,) = typing.get_args(kind)
        return [plain_value(child, inner) for child in node.value]
    if kind is float and isinstance(node.value, int):
        return float(node.value)
    return node.value


def values(node: Node, cls: type) -> dict[str, Any]:
    """A sound tree as nested dicts; sections without keys are left out."""
    result: dict[str, Any] = {}
    for name, child in node.value.items():
        kind, may_be_null = options(hints(cls)[name])
        if child.value is None and (may_be_null or not is_dataclass(kind)):
            result[name] = None
        elif not is_dataclass(kind):
            result[name] = plain_value(child, kind)
        elif child.value is not None:
            result[name] = values(child, typing.cast(type, kind))
    return result


def sources(node: Node, cls: type, name: str | None = None, prefix: str = "") -> dict[str, str]:
    """Dotted key -> where its value is from (`name`, if given), for each value of a sound tree."""
    found: dict[str, str] = {}
    for key, child in node.value.items():
        kind, may_be_null = options(hints(cls)[key])
        if not is_dataclass(kind) or (child.value is None and may_be_null):
            found[prefix + key] = name or child.source
        elif child.value is not None:
            found |= sources(child, typing.cast(type, kind), name, f"{prefix}{key}.")
    return found


def build(cls: type[T], tree: Mapping[str, Any]) -> T:
    """An instance of a dataclass, and of those inside it, from nested dicts.

    Raises TypeError when a field without default is absent.
    """
    arguments: dict[str, Any] = {}
    fields = hints(typing.cast(type, cls))
    for name, value in tree.items():
        kind, _ = options(fields[name])
        if is_dataclass(kind) and value is not None:
            value = build(typing.cast(type, kind), value)
        arguments[name] = value
    return cls(**arguments)


def _called(prefix: str) -> str:
    return prefix.rstrip(".") or "the file"


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a section"
    if isinstance(node.value, list):
        return "[" + ", ".join(_shown(child) for child in node.value) + "]"
    if node.value is None:
        return "empty"
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if isinstance(node.value, str) else text


def _mismatch(node: Node, kind: Any) -> str | None:
    """What the node must be to fit `kind`, or None when it fits."""
    value = node.value
    if kind is bool:
        if isinstance(value, bool):
            return None
        word = _BOOLEAN_WORDS.get(node.text.lower())
        return "must be true or false" + (f"; write {word}" if word else "")
    if kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return None
        return "must be a whole number" + _number_hint(node)
    if kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return None
        return "must be a number" + _number_hint(node)
    if kind is str:
        return "must be text" if isinstance(value, (dict, list)) or value is None else None
    if typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        if isinstance(value, list) and not any(_mismatch(child, inner) for child in value):
            return None
        each = "whole numbers" if inner is int else "numbers"
        return f"must be a list of {each}, such as [16, 16, 16]"
    raise TypeError(f"no check is known for {kind}")


def _number_hint(node: Node) -> str:
    """How to write the number that was probably meant."""
    text = node.text
    if isinstance(node.value, float) and node.value.is_integer():
        return f"; write {int(node.value)}"
    if isinstance(node.value, str):
        digits = text.lstrip("+-")
        if digits.isdigit() and len(digits) <= 40 and not digits.startswith("0"):
            return f"; write {text} without quotes"
        if digits.isdigit() and len(digits) <= 40:
            return f"; write {text.replace(digits, digits.lstrip('0') or '0')}"
    return ""
