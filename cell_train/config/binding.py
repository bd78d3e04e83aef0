"""Trees against dataclasses: what is wrong with a tree, and a dataclass made of a sound one."""

import functools
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar

from cell_train.config import constraints
from cell_train.config.yaml.nodes import Node
from cell_train.config.yaml.suggestions import did_you_mean, meant, nearest
from cell_train.errors import Place, Problem

T = TypeVar("T")
_NUMBER = re.compile(  # as people write them: 012, 1_000, "0.5", 0,05, 30 %, 3 epochs
    r"([-+]?)(\d[\d_]*)([.,]\d+)?([eE][-+]?\d+)?"
    r"\s*(%|k|ms|min|h|epochs?|samples?|steps?|ticks?|cells?|seconds?|s)?"
)
_SCALES = {int: {"k": 1000.0}, float: {"%": 0.01, "ms": 0.001, "min": 60.0, "h": 3600.0}}
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,15}")
_BOOLEAN_WORDS = dict.fromkeys(("true", "on", "yes", "y", "1"), "true") | dict.fromkeys(
    ("false", "off", "no", "n", "0"), "false"
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


def check(
    node: Node,
    cls: type,
    wrong: list[Problem],
    prefix: str = "",
    known: Mapping[str, Any] | None = None,
) -> Node:
    """A tree meant for `cls` without what is wrong in it, which is added to `wrong`.

    `prefix` is the section the tree is, `known` are the keys of the whole that holds it.
    """
    known = known or dict(keys(cls, prefix))
    if not isinstance(node.value, dict):
        wrong.append(_not_a_section(node, cls, prefix.rstrip(".")))
        return replace(node, value={})
    fields, sound = hints(cls), {}
    for name, child in node.value.items():
        dotted = prefix + name
        kind, may_be_null = options(fields.get(name))
        if name not in fields:
            _check_unknown(child, wrong, dotted, prefix, known)
        elif child.value is None and (may_be_null or is_dataclass(kind)):
            sound[name] = child  # a bare `training:` says nothing
        elif is_dataclass(kind) and not isinstance(child.value, dict):
            wrong.append(_not_a_section(child, typing.cast(type, kind), dotted))
        elif is_dataclass(kind):
            sound[name] = check(child, typing.cast(type, kind), wrong, f"{dotted}.", known)
        elif problem := _leaf_problem(child, kind, dotted):
            wrong.append(problem)
        else:
            sound[name] = child
    return replace(node, value=sound)


def _check_unknown(
    node: Node, wrong: list[Problem], dotted: str, prefix: str, known: Mapping[str, Any]
) -> None:
    """A key that is none; what stands below a misspelt section is checked as that section's."""
    place = node.key_where or node.where
    message = f"unknown key {dotted!r}"
    if "." in dotted.removeprefix(prefix) and dotted in known:
        section, _, name = dotted.rpartition(".")
        fix = f"write {name} inside the section {section}"
        wrong.append(Problem(place, message, fix, dotted))
        return
    guess = meant(dotted, known)
    wrong.append(Problem(place, message, did_you_mean(guess), dotted))
    kind, _ = options(known.get(guess))
    if is_dataclass(kind) and isinstance(node.value, dict):
        check(node, typing.cast(type, kind), wrong, f"{guess}.", known)


def _leaf_problem(node: Node, kind: Any, dotted: str) -> Problem | None:
    must, fix = _mismatch(node, kind)
    if not must:
        value = plain_value(node, kind)
        must = constraints.broken(dotted, value) or ""
        fix = did_you_mean(nearest(str(value), constraints.words(dotted)))
        if must and constraints.is_share(dotted) and type(node.value) is int and 1 < value <= 100:
            fix = f"write {value / 100:g} for {value:g} %"
    if not must:
        return None
    fix = fix or _one_of(node, kind)
    return Problem(node.where, f"{dotted} {must}, not {_shown(node)}", fix, dotted)


def _one_of(node: Node, kind: Any) -> str:
    """What to write where a list stands for one value, "" where none does."""
    if not isinstance(node.value, list) or typing.get_origin(kind) is list:
        return ""
    if not node.value or any(_mismatch(child, kind)[0] for child in node.value):
        return ""
    return f"write {node.value[0].text}" if len(node.value) == 1 else "write one; each takes a run"


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


def places(node: Node, cls: type, prefix: str = "") -> dict[str, Place]:
    """Dotted key -> where its value stands, for each key of a sound tree, sections included."""
    found: dict[str, Place] = {}
    for key, child in node.value.items():
        kind, _ = options(hints(cls)[key])
        found[prefix + key] = child.where
        if is_dataclass(kind) and child.value is not None:
            found |= places(child, typing.cast(type, kind), f"{prefix}{key}.")
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


def _not_a_section(node: Node, cls: type, dotted: str) -> Problem:
    """A value where a section belongs, with how to write it if it is meant for one of its keys."""
    fix = ""
    for name in {"enabled", "dimensions"} & hints(cls).keys():
        if not _mismatch(node, options(hints(cls)[name])[0])[0]:
            fix = f"write {{{name}: {_shown(node)}}}"
    message = f"{dotted or 'the file'} must be a section of keys, not {_shown(node)}"
    return Problem(node.where, message, fix, dotted)


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a section"
    if isinstance(node.value, list):
        text = "[" + ", ".join(_shown(child) for child in node.value[:9]) + "]"
        return text if len(node.value) < 10 and len(text) <= 60 else "a long list"
    if node.value is None:
        return "empty"
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if isinstance(node.value, str) else text


def _mismatch(node: Node, kind: Any) -> tuple[str, str]:
    """(what the node must be to fit `kind`, what to write), both "" when it fits."""
    value = node.value
    if kind is bool:
        if isinstance(value, bool):
            return "", ""
        word = _BOOLEAN_WORDS.get(node.text.lower())
        return "must be true or false", f"write {word}" if word else ""
    if kind in (int, float):
        if isinstance(value, (int, kind)) and not isinstance(value, bool):
            return "", ""
        number = _number_meant(node, kind)
        name = "a whole number" if kind is int else "a number"
        return f"must be {name}", f"write {number}" if number else ""
    if kind is str:
        wrong = isinstance(value, (dict, list)) or value is None
        return ("must be text", "") if wrong else ("", "")
    if typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        if isinstance(value, list) and not any(_mismatch(child, inner)[0] for child in value):
            return "", ""
        each = "whole numbers" if inner is int else "numbers"
        return f"must be a list of {each}", _list_fix(node, inner)
    raise TypeError(f"no check is known for {kind}")


def _list_fix(node: Node, inner: Any) -> str:
    """The list that was probably meant by `16x16x16`, `16, 16, 16` or [16, 16, many]."""
    if isinstance(node.value, list):
        parts = [child.text for child in node.value if not isinstance(child.value, (dict, list))]
    else:
        parts = re.split(r"[\s,x×*]+", node.text.strip("()[] "))
    if inner is int and type(node.value) is int:
        parts *= 3
    numbers = [_number_meant(replace(node, value=part, text=part), inner) for part in parts]
    if len(numbers) < 2 or not all(numbers):
        numbers = ["16", "16", "16"] if inner is int else ["0.75", "1.25"]
        return f"write for instance [{', '.join(numbers)}]"
    return f"write [{', '.join(numbers)}]"


def _number_meant(node: Node, kind: Any) -> str:
    """A number as it is to be written, where it is clear which one was meant; otherwise ""."""
    if isinstance(node.value, float) and kind is int:
        whole = node.value.is_integer() and abs(node.value) < 1e15
        return str(int(node.value)) if whole else ""
    if kind is int and _HEXADECIMAL.fullmatch(node.text):
        return str(int(node.text, 16))
    match = _NUMBER.fullmatch(node.text.strip()) if not isinstance(node.value, list) else None
    if match is None or isinstance(node.value, (bool, dict)):
        return ""
    sign, digits, decimals, exponent, unit = match.groups(default="")
    digits = digits.replace("_", "").lstrip("0") or "0"
    number = f"{sign}{digits}{decimals.replace(',', '.')}{exponent}"
    if scale := _SCALES[kind].get(unit):
        return f"{float(number) * scale:.12g}"
    other = any(unit in units for units in _SCALES.values())
    return "" if len(digits) > 40 or other or (kind is int and decimals) else number
