"""Write the pages made from the source: docs/commands.md and docs/keys.md.

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


PAGES = {"commands.md": commands_page, "keys.md": keys_page}


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
