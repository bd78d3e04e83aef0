"""Every key of a stage with all there is to know about it: type, default, bounds, meaning."""

import functools
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from cell_train.config import binding, constraints, schema
from cell_train.config.constraints import Rule
from cell_train.config.resolve import defaults

_CLASS = re.compile(r"class (\w+)")
_FIELD = re.compile(r"    (\w+): [^#]*?(?:  # (.*))?")
_ABOVE = re.compile(r"    # (.*)")
_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Key:
    """One dotted key of a stage."""

    name: str
    kind: Any  # its type without None; a dataclass for a section
    may_be_null: bool
    default: Any  # None also where only a stage file says it
    rule: Rule | None
    meaning: str

    @property
    def is_section(self) -> bool:
        return is_dataclass(self.kind)

    @property
    def must(self) -> str:
        """What its value must be, type and bounds."""
        if self.is_section:
            return "section"
        inner = typing.get_args(self.kind)
        kind = f"list of {_NAMES[inner[0]]}s" if inner else _NAMES[self.kind]
        if self.rule is not None:
            says_all = inner or self.kind is str
            kind = self.rule.must if says_all else f"{kind}, {self.rule.must}"
        return f"{kind}, or null" if self.may_be_null else kind


@functools.cache
def table() -> Mapping[str, Key]:
    """All keys of a stage by dotted name, sections included, in the schema's order."""
    meanings, values = _meanings(), defaults()
    found: dict[str, Key] = {}
    for name, kind in binding.keys(schema.Stage):
        inner, may_be_null = binding.options(kind)
        section, _, last = name.rpartition(".")
        holder = found[section].kind if section else schema.Stage
        meaning = meanings[holder.__name__, last]
        default = None if is_dataclass(inner) else values.value(name)
        found[name] = Key(name, inner, may_be_null, default, constraints.RULES.get(name), meaning)
    return found


def _meanings() -> dict[tuple[str, str], str]:
    """(class, field) -> the comment beside a field of the schema, or right above it."""
    meanings: dict[tuple[str, str], str] = {}
    holder, above = "", []
    for line in Path(schema.__file__).read_text(encoding="utf-8").splitlines():
        if match := _CLASS.match(line):
            holder = match[1]
        elif match := _ABOVE.fullmatch(line):
            above.append(match[1])
            continue
        elif match := _FIELD.fullmatch(line):
            meanings[holder, match[1]] = " ".join([*above, match[2] or ""]).strip()
        above = []
    return meanings
