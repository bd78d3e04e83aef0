"""The JSON Schema (draft 7) of a stage file, for completion and checking in editors."""

import typing
from collections.abc import Collection
from typing import Any

from cell_train.config.constraints import LARGEST
from cell_train.config.reference import keys
from cell_train.config.reference.keys import Key
from cell_train.config.stage_file import LEANED_ON, MOVED, TABLE

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def make(profile_names: Collection[str]) -> dict[str, Any]:
    """The schema of a stage file that may name these plasticity profiles."""
    known = keys.table()
    sections: dict[str, dict[str, Any]] = {"": {}}  # dotted section -> its properties
    for name, key in known.items():
        section, _, last = name.rpartition(".")
        sections[section][last] = _property(key)
        if key.is_section:
            sections[name] = sections[section][last]["properties"] = {}
    for old, new in MOVED.items():
        section, _, last = old.rpartition(".")
        sections[section][last] = _old(new, sections)
    stage = sections[""]
    stage["plasticity_profile"]["enum"] = list(profile_names)
    outside = {"required": ["stage"], "properties": {"stage": {"minimum": TABLE.stop}}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A stage of celltrain",
        "type": "object",
        "properties": stage,
        "required": ["stage"],
        "additionalProperties": False,
        "if": outside,
        "then": {"required": list(LEANED_ON)},
    }


def _property(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"description": key.meaning}
    if key.is_section:  # a bare `training:` says nothing, and may
        return {**found, "type": ["object", "null"], "additionalProperties": False}
    inner = typing.get_args(key.kind)
    kind = "array" if inner else _TYPES[key.kind]
    found["type"] = [kind, "null"] if key.may_be_null else kind
    if inner:
        found["items"] = {"type": _TYPES[inner[0]]}
    if key.rule is not None:
        found |= key.rule.schema
    if kind == "integer":
        found.setdefault("maximum", LARGEST)
    if key.default is not None:
        found["default"] = key.default
    return found


def _old(new: str, sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """An old spelling: what the key is now called, or its section as a whole."""
    section, _, last = new.rpartition(".")
    found = {**sections[section][last], "description": f"old spelling of {new}"}
    if last != "enabled":
        return found
    whole = {"type": "object", "properties": sections[section], "additionalProperties": False}
    return {"description": found["description"], "anyOf": [{"type": found["type"]}, whole]}
