"""--help at 80 columns: whole sentences, and examples as they are typed."""

import subprocess
import sys
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


def test_reading_defaults_and_text_takes_no_pydantic() -> None:
    code = (
        "import sys; from cell_train.cli import app;"
        "app(['plan', '--stages', '1', 'epochs=2'], standalone_mode=False);"
        "sys.exit(any(name.startswith('pydantic') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "16×16×16" in done.stdout


@pytest.mark.parametrize(
    "words",
    [("run", "--timeout", "much"), ("plan", "--threads", "-1"), ("run", "--progress", "loud")],
)
def test_what_is_no_plain_text_is_still_read(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[1]}'" in done.output


@pytest.mark.parametrize(
    ("words", "usage", "argument"),
    [
        ("plan", "[KEY=VALUE]...", "  [KEY=VALUE]...  Override keys of all selected stages."),
        ("ask", "RUN [TEXT]...", "  [TEXT]...  What to send through."),
        ("compare", "RUN RUN...", "  RUN RUN...  Folders, or their --name.  [required]"),
    ],
)
def test_arguments_read_as_declared_whatever_typer_writes(
    words: str, usage: str, argument: str
) -> None:
    lines = said(words).splitlines()
    assert lines[0] == f"Usage: celltrain {words} [OPTIONS] {usage}"
    assert argument in lines


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_outlives_optimization(words: list[str]) -> None:
    """PYTHONOPTIMIZE=2 takes all docstrings away."""
    said = [
        subprocess.run(
            [sys.executable, *flags, "-m", "cell_train", *words], capture_output=True, text=True
        ).stdout
        for flags in ([], ["-OO"])
    ]
    assert said[0] == said[1] != ""
