"""The redrawn block, judged by a small terminal of the test's own."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from cell_train.console.terminal import Screen, frame
from tests.support.runs import COMMAND_LINE

_PIECE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    """Rows of text under what a frame may use: cursor up, erase to the end of line or screen."""

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.seen: list[list[str]] = []  # the rows after every piece

    def write(self, text: str) -> None:
        end = 0
        for piece in _PIECE.finditer(text):
            assert piece.start() == end, f"not understood: {text[end:]!r}"
            end = piece.end()
            self._take(*piece.groups())
            self.seen.append(list(self.rows))
        assert end == len(text)

    def _take(self, count: str, command: str, control: str, plain: str) -> None:
        line = self.rows[self.row]
        if plain:
            after = line[self.column + len(plain) :]
            self.rows[self.row] = line[: self.column].ljust(self.column) + plain + after
            self.column += len(plain)
        elif control:
            self.column = 0
            if control == "\n":
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
        elif command == "A":
            self.row -= int(count)
            assert self.row >= 0
        elif command == "K":
            self.rows[self.row] = line[: self.column]
        elif command == "J":
            self.rows[self.row] = line[: self.column]
            del self.rows[self.row + 1 :]
        else:
            assert command == "m"  # colours


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([], ["one", "two"]),
        (["one", "two"], ["one", "2"]),
        (["a long line", "two"], ["short", "two", "three"]),
        (["one", "two", "three"], ["1"]),
        (["one", "two"], []),
    ],
)
def test_a_frame_turns_one_block_into_another(old: list[str], new: list[str]) -> None:
    terminal = Terminal()
    terminal.write("above\n" + frame([], old, 0))
    terminal.write(frame(old, new, len(old)))
    assert terminal.rows == ["above", *new, ""]
    assert (terminal.row, terminal.column) == (1 + len(new), 0)


def test_no_line_is_blank_between_two_frames() -> None:
    terminal = Terminal()
    block = [f"step {step} of 9" for step in range(8, 11)]
    terminal.write(frame([], block, 0))
    terminal.seen.clear()
    for step in range(20):
        following = [f"step {step} of 9", "the same", f"{'x' * (step % 3 + 1)}"]
        terminal.write(frame(block, following, 3))
        block = following
    assert all(all(rows[:3]) for rows in terminal.seen)


def test_a_message_above_blanks_no_line_either() -> None:
    terminal = Terminal()
    terminal.write(frame([], ["one", "two"], 0))
    terminal.seen.clear()
    terminal.write(frame(["one", "two"], ["one", "2"], 2, ["a message"]))
    assert terminal.rows == ["a message", "one", "2", ""]
    assert all(all(rows[:2]) for rows in terminal.seen)


def test_a_line_that_did_not_change_is_not_written() -> None:
    assert "the same" not in frame(["step 1", "the same"], ["step 2", "the same"], 2)


def test_a_block_that_was_folded_is_erased_whole() -> None:
    terminal = Terminal()
    terminal.write("above\nstep 1 \nof 9\nsecond\n")  # a terminal made narrow folded the first line
    terminal.write(frame(["step 1 of 9", "second"], ["step 2", "second"], 3))
    assert terminal.rows == ["above", "step 2", "second", ""]


def test_messages_stand_above_and_the_block_is_gone_at_the_end() -> None:
    stream, steps = io.StringIO(), [0]
    console = Console(file=stream, force_terminal=True, width=40, height=10, color_system=None)
    long = "a path that must stay whole: /data/" + "x" * 60
    with Screen(console, lambda width: Text(f"step {steps[0]}")).showing() as screen:
        for steps[0] in range(3):
            screen.say(Text(f"[warning] {steps[0]}"))
        screen.say(Text(long))
    terminal = Terminal()
    terminal.write(stream.getvalue())
    assert terminal.rows == [*(f"[warning] {step}" for step in range(3)), long, ""]


def test_a_block_higher_than_the_terminal_is_cut() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=40, height=5, color_system=None)
    with Screen(console, lambda width: Text("\n".join("abcdefgh"))).showing() as screen:
        screen.say(Text("begun"))
    assert "d" in stream.getvalue()
    assert "e" not in stream.getvalue().replace("begun", "")


def test_a_run_on_a_terminal_blanks_nothing_and_leaves_its_messages(
    tmp_path: Path, behave: Callable[[dict[int, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    behave({1: "slow", 2: "slow"})
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-c", COMMAND_LINE, "run", "--stages", "2-3"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that the other end is closed
        while chunk := os.read(ours, 4096):
            shown += chunk
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    terminal = Terminal()
    terminal.write(shown.decode().replace("\r\n", "\n"))
    first, *verdicts, last = terminal.rows
    assert first == "stage 2: there is no stage before it in this run; it starts fresh"
    assert [said.split(", ")[0] for said in verdicts] == [
        "stage 2: It ends at bleu 0.200",
        "stage 3: It ends at bleu 0.300",
    ]
    assert last == ""
    drawn = [rows for rows in terminal.seen if any("stage 2: Learning" in row for row in rows)]
    assert drawn
    # the heading never goes, but for the moment in which a verdict pushes the block down
    still = [rows for rows in drawn if not any("It ends at" in row for row in rows)]
    assert all("lattice plasticity" in rows[2] for rows in still)
    assert re.search(r"^✓     2 5×5×5   learning .* bleu 0\.200 ", out, re.MULTILINE)
