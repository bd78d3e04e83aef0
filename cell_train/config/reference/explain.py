"""Resolved values in words: as YAML with their sources, and the history of one key."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cell_train.config.reference import keys
from cell_train.config.reference.keys import Key
from cell_train.config.resolve import Resolution
from cell_train.config.yaml import nodes
from cell_train.config.yaml.suggestions import did_you_mean, meant
from cell_train.errors import ConfigError

INDENT = "  "


def as_yaml(one: Resolution, with_sources: bool) -> str:
    """A resolved stage as the text of a stage file, each value's source as a comment behind it."""
    lines = list(_yaml_lines(asdict(one.stage)))
    width = max(len(text) for text, _ in lines) + 2
    said = [
        f"{text:{width}}# {_on_a_line(one.sources[key])}"
        if with_sources and key in one.sources
        else text
        for text, key in lines
    ]
    return "".join(f"{line}\n" for line in said)


def _yaml_lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(a line, its dotted key)"""
    indent = INDENT * prefix.count(".")
    for name, value in values.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:", prefix + name
            yield from _yaml_lines(value, f"{prefix}{name}.")
        else:
            yield f"{indent}{name}: {shown(value)}", prefix + name


def key_named(name: str) -> Key:
    """The key of a stage by its dotted name. Raises ConfigError for one that is none."""
    known = keys.table()
    if name not in known:
        guess = did_you_mean(meant(name, known))
        raise ConfigError(f"unknown key {name!r}{guess and f' ({guess})'}.")
    return known[name]


def why(key: Key, stages: Sequence[Resolution]) -> str:
    """What a key is, and for each stage its value and every layer that set it, low to high.

    A section is its keys with their values. Stages that agree in all of it are told of once.
    """
    told: dict[str, list[int]] = {}
    for one in stages:
        lines = _section(key, one) if key.is_section else _history(key, one)
        told.setdefault("\n".join(lines), []).append(one.number)
    parts = [f"{key.name} ({key.must})\n  {key.meaning}"]
    for text, numbers in told.items():
        which = ", ".join(map(str, numbers))
        parts.append(f"\nstage{'s' if len(numbers) > 1 else ''} {which}\n{text}")
    return "\n".join(parts)


def _history(key: Key, one: Resolution) -> Iterator[str]:
    rows: dict[str, str] = {}  # source -> value; what a layer says twice counts where it is higher
    section = key.name.rpartition(".")[0]
    for value, source in one.history(key.name) or [(None, one.sources[section])]:
        rows.pop(source, None)
        rows[source] = shown(value)
    width = max(map(len, rows.values()))
    for index, (source, value) in enumerate(rows.items(), 1):
        mark = "=>" if index == len(rows) else "  "
        yield f" {mark} {value:{width}}  {_cause(source, one)}"


def _section(key: Key, one: Resolution) -> list[str]:
    names = [name for name in one.sources if f"{name}.".startswith(f"{key.name}.")]
    rows = [(name, shown(_value(name, one)), _cause(one.sources[name], one)) for name in names]
    wide, wider = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"    {name:{wide}}  {value:{wider}}  {cause}" for name, value, cause in rows]


def _value(key: str, one: Resolution) -> Any:
    return functools.reduce(getattr, key.split("."), one.stage)


def _cause(source: str, one: Resolution) -> str:
    """A source, and what a person wrote that called for it."""
    cause = "plasticity_profile" if source.startswith("profile:") else source
    said = f"{source} ({cause}, {one.sources[cause]})" if cause in one.sources else source
    return _on_a_line(said)


def _on_a_line(source: str) -> str:
    """A source whose path may hold anything that a file system allows."""
    return "".join(c if c.isprintable() else "?" for c in source)


def shown(value: Any) -> str:
    return nodes.dump({"": value}).partition(":")[2].strip()
