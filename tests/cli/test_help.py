"""--help at 80 columns: whole sentences, and examples as they are typed."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from cell_train.cli import COMMANDS, app, help


def said(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="celltrain", terminal_width=80)
    return done.output


def test_every_command_is_listed_with_its_whole_summary() -> None:
    lines = [line.strip() for line in said().splitlines()]
    for heading, commands in COMMANDS.items():
        assert f"{heading}:" in lines
        for command in commands:
            assert f"{command.__name__:<9}  {help.summary(command)}" in lines


@pytest.mark.parametrize(
    "command", [one for commands in COMMANDS.values() for one in commands], ids=lambda f: f.__name__
)
def test_a_command_says_what_it_does_and_keeps_its_examples_whole(
    command: Callable[..., None],
) -> None:
    name, doc = command.__name__, command.__doc__ or ""
    output = said(name)
    assert max(map(len, output.splitlines())) <= 80
    assert output.startswith(f"Usage: celltrain {name} [OPTIONS]")
    assert doc.split("\n", 1)[0] in output
    for line in doc.splitlines():
        if line.strip().startswith("celltrain "):
            assert f"      {line.strip()}" in output.splitlines()
