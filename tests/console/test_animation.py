"""Frames of a lattice as blocks on a terminal and as a picture that moves."""

import io
import xml.etree.ElementTree as ElementTree

import pytest

from cell_train.console import animation

FRAMES = [[[0.0, 0.0, 0.0]] * 2, [[1.0, 0.5, 0.0]] * 2]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_picture_moves_through_the_frames_and_rests_on_the_last() -> None:
    root = ElementTree.fromstring(animation.svg(FRAMES, ["> a", "< b"]))
    cells = root.findall(f"{SVG}g/{SVG}rect")
    assert len(cells) == 6
    assert [cell.get("fill-opacity") for cell in cells[:3]] == ["1.00", "0.50", "0.00"]
    moves = [cell.find(f"{SVG}animate") for cell in cells]
    assert moves[1] is not None
    assert moves[1].get("values") == "0.00;0.50"


def test_a_picture_holds_any_text_and_nothing_of_it_is_markup() -> None:
    hostile = "</text><script>alert(1)</script>\0\x1b\ufffe & " + "x" * 1000
    text = animation.svg(FRAMES, [hostile])
    root = ElementTree.fromstring(text)
    assert not root.findall(f".//{SVG}script")
    written = root.find(f".//{SVG}text")
    assert written is not None
    assert (written.text or "").startswith("</text><script>alert(1)</script>")
    assert len(written.text or "") == 160


def test_a_terminal_sees_each_frame_over_the_last_and_its_cursor_again() -> None:
    stream = io.StringIO()
    animation.play(FRAMES, stream, pause=0, environment={"NO_COLOR": "1"})
    drawn = stream.getvalue()
    assert drawn.startswith("\x1b[?25l")
    assert drawn.endswith("tick 1 of 1\x1b[K\n\x1b[?25h")
    assert "\x1b[3A@@++  \x1b[K\n@@++  \x1b[K\n" in drawn
    assert "\x1b[48" not in drawn
    coloured = io.StringIO()
    animation.play(FRAMES, coloured, pause=0, environment={})
    assert "\x1b[48;5;227m  " in coloured.getvalue()


def test_a_lattice_larger_than_the_terminal_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "12")
    stream = io.StringIO()
    animation.play([[[1.0] * 40] * 48], stream, pause=0, environment={"NO_COLOR": "1"})
    rows = [line for line in stream.getvalue().split("\n") if "@" in line]
    assert len(rows) <= 10
    assert all(row.count("@") <= 20 for row in rows)
