"""Write the pages made from the source: docs/commands.md, docs/keys.md and docs/events.md.

python scripts/docs.py            # make docs
python scripts/docs.py --check    # exit 1 where a page is out of step
"""

import argparse
import inspect
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cell_train import cli
from cell_train.cli import help
from cell_train.config import binding
from cell_train.config.reference import explain, keys
from cell_train.config.reference.keys import Key
from cell_train.events.kinds import KINDS, LEFT_OUT, Message, Says, fields

DOCS = Path(__file__).resolve().parents[1] / "docs"
MADE = "<!-- Made by scripts/docs.py (make docs); edit the source instead. -->"


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command, as its function declares it."""

    names: list[str]  # of an option; none for an argument
    value: str  # what stands for its value; "" for a flag
    default: Any
    help: str


def commands_page() -> str:
    """Every command with its arguments and options."""
    commands = {_name(info): info.callback for info in cli.app.registered_commands}
    links = [
        f"- [`celltrain {name}`](#celltrain-{name}): {help.summary(f)}"
        for name, f in commands.items()
    ]
    parts = [f"# Commands\n\n{MADE}\n", f"{_doc(cli.top)}\n", "\n".join(links) + "\n"]
    for name, function in commands.items():
        parameters = list(_parameters(function))
        given = [parameter.value for parameter in parameters if not parameter.names]
        usage = " ".join(["celltrain", name, "[OPTIONS]", *given])
        parts.append(f"## celltrain {name}\n\n    {usage}\n\n{_doc(function)}\n")
        rows = [_row(parameter) for parameter in parameters]
        parts.append("\n".join(["| | |", "|---|---|", *rows]) + "\n" if rows else "")
    return "\n".join(parts).rstrip("\n") + "\n"


def _name(info: Any) -> str:
    return str(info.name or info.callback.__name__.replace("_", "-"))


def _doc(function: Any) -> str:
    return inspect.cleandoc(function.__doc__ or "").replace("\b\n", "")  # the mark of --help


def _parameters(function: Any) -> Iterator[Parameter]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = typing.get_args(hints[name])
        kind, _ = binding.options(kind)
        names: list[str] = []
        if isinstance(info, typer.models.OptionInfo):
            first = [info.default] if isinstance(info.default, str) else []  # typer files it there
            names = [*first, *(info.param_decls or ())] or [f"--{name.replace('_', '-')}"]
        value = info.metavar or name.upper()
        if kind is bool:
            value = ""
        yield Parameter(names, value, parameter.default, info.help or "")


def _row(parameter: Parameter) -> str:
    names = [f"`{name}`" for name in parameter.names]
    left = " ".join(filter(None, (", ".join(names), parameter.value and f"`{parameter.value}`")))
    default, right = parameter.default, parameter.help
    if parameter.names and default is not None and default is not False:
        right += f" Default: `{default}`."
    return f"| {_cell(left)} | {_cell(right)} |"


def keys_page() -> str:
    """Every key of a stage by section: type, default, bounds, meaning."""
    head = (
        f"# Keys of a stage\n\n{MADE}\n\n"
        "What a stage file may write, and `key=value` on the command line. A default that a profile"
        " or flag\nreplaces is told by `celltrain why KEY`; the defaults stand in"
        " `cell_train/config/tables/defaults.yaml`.\n"
    )
    table = keys.table()
    top = [key for key in table.values() if "." not in key.name and not key.is_section]
    parts = [head, "\n".join(_keys_table(top))]
    for section in (key for key in table.values() if key.is_section):
        inside = [k for k in table.values() if k.name.rpartition(".")[0] == section.name]
        leaves = [key for key in inside if not key.is_section]
        parts.append(f"\n## {section.name}\n\n{_sentence(section.meaning)}\n")
        if leaves:
            parts.append("\n".join(_keys_table(leaves)))
    return "\n".join(parts) + "\n"


def _keys_table(rows: list[Key]) -> Iterator[str]:
    yield "| key | default | must be | meaning |"
    yield "|---|---|---|---|"
    for key in rows:
        default = "" if key.default is None and not key.may_be_null else explain.shown(key.default)
        cells = (f"`{key.name}`", default and f"`{default}`", key.must, key.meaning)
        yield f"| {' | '.join(map(_cell, cells))} |"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def events_page() -> str:
    """Every kind of event with its fields."""
    head = (
        "A run tells what happens as events: one JSON object a line in `RUN/events.jsonl`, and on"
        " standard\noutput with `--json`. Each has `event` (its kind), `time` (Unix seconds) and"
        " `stage`. Figures are also\nin `RUN/stage-N/metrics.jsonl`, one flat object a line, and in"
        " TensorBoard as `KIND/FIELD`. A field in\nparentheses may be left out.\n"
    )
    parts = [f"# Events\n\n{MADE}\n\n{head}"]
    for kind, message in KINDS.items():
        flags = (("by the parent", message.of_parent), ("kept nowhere", not message.kept))
        flags += (("in metrics.jsonl", message.to_metrics), ("TensorBoard", message.to_tensorboard))
        told = ", ".join(name for name, holds in flags if holds)
        parts.append(f"## {kind}\n\n{_doc(message)}{f' ({told})' if told else ''}\n")
        rows = [_field_row(name, said, message) for name, said in fields(kind).items()]
        head = ("| field | type | meaning | shown by |", "|---|---|---|---|")
        parts.append("\n".join((*head, *rows)) + "\n" if rows else "")
    return "\n".join(parts).rstrip("\n") + "\n"


def _field_row(name: str, said: Says, message: type[Message]) -> str:
    shown = [who for who in ("display", "report") if getattr(said, who)]
    left_out = message.__dataclass_fields__[name].default is LEFT_OUT
    cells = (f"(`{name}`)" if left_out else f"`{name}`", _json_type(said.type), said.meaning)
    return f"| {' | '.join(map(_cell, (*cells, ', '.join(shown))))} |"


def _json_type(wanted: Any) -> str:
    """A type of events/kinds.py in the words of JSON."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin in (list, tuple):
        many = f"{len(inner)} of " if origin is tuple else ""
        return f"list of {many}{_json_type(inner[0])}"
    if origin is dict:
        return "object" if inner[1] is Any else f"object of {_json_type(inner[1])}"
    if inner:
        named = [_json_type(one) for one in inner if one is not type(LEFT_OUT)]
        return " or ".join(named)
    names = {int: "integer", float: "number", str: "text", bool: "true or false"}
    return names.get(wanted, "null")


PAGES = {"commands.md": commands_page, "keys.md": keys_page, "events.md": events_page}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    behind = [
        name
        for name, page in PAGES.items()
        if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != page()
    ]
    if check and behind:
        sys.exit(f"out of step with the source: {', '.join(behind)}; run make docs")
    for name in () if check else behind:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")


if __name__ == "__main__":
    main()
