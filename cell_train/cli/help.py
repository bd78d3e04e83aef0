"""How --help reads: commands under headings, each with the whole first line of its docstring."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from cell_train.cli import values


def documented(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with its docstring, read from its file where PYTHONOPTIMIZE=2 has taken it."""
    source = inspect.getsourcefile(command) if command.__doc__ is None else None
    if source:
        for node in ast.walk(ast.parse(Path(source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == command.__name__:
                command.__doc__ = ast.get_docstring(node, clean=False)
    return command


def summary(command: Callable[..., Any]) -> str:
    """The first line of a command's docstring."""
    return inspect.cleandoc(command.__doc__ or "").split("\n", 1)[0]


class Group(TyperGroup):
    """Lists its commands under the headings they were added with, in columns that line up."""

    def get_params(self, ctx: Any) -> list[Any]:
        return values.kept_plain(super().get_params(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        rows: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            rows.setdefault(heading, []).append((name.ljust(width), command.get_short_help_str()))
        for heading, lines in rows.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


class Command(TyperCommand):
    """Names its arguments as they are declared, whatever Typer would put around them."""

    def get_params(self, ctx: Any) -> list[Any]:
        return values.kept_plain(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or "", *(one.metavar for one in self._arguments())]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for one in self._arguments():
            if record := one.get_help_record(ctx):
                one.get_help_record = lambda _, said=(one.metavar, record[1]): said
        super().format_options(ctx, formatter)

    def _arguments(self) -> list[Any]:
        return [one for one in self.params if one.param_type_name == "argument"]
