"""What is shown where, from the events alone."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from cell_train import formatting
from cell_train.console import live, plain
from cell_train.console import view as progress
from cell_train.console.live import Picture
from cell_train.errors import ConfigError
from cell_train.runner import gates

STAGE: dict[str, Any] = {
    "stage": 3,
    "description": "Advanced [train] Learning",
    "dimensions": [6, 6, 6],
    "plasticity_profile": "learning",
    "connection_density": 0.7,
    "epochs": 8,
    "budget_bytes": 8 << 30,
}
STEP: dict[str, Any] = {
    "event": "step",
    "stage": 3,
    "epoch": 1,
    "step": 30,
    "steps": 120,
    "loss": 0.25,
    "cosine": 0.5,
    "cells_per_second": 1.25e6,
    "active": 0.31,
    "memory_bytes": 420 << 20,
    "seconds_left": 200.0,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("wanted", "stream", "environment", "mode"),
    [
        ("auto", Terminal(), {"TERM": "xterm"}, "live"),
        ("auto", Terminal(), {"TERM": "xterm", "CI": "false"}, "live"),
        ("auto", Terminal(), {"TERM": "xterm", "CI": "true"}, "plain"),
        ("auto", Terminal(), {"TERM": "dumb"}, "plain"),
        ("auto", io.StringIO(), {"TERM": "xterm"}, "plain"),
        ("live", io.StringIO(), {"CI": "true"}, "live"),
        ("plain", Terminal(), {}, "plain"),
        ("none", Terminal(), {}, "none"),
    ],
)
def test_only_a_watched_terminal_gets_a_display(
    wanted: str, stream: io.StringIO, environment: Mapping[str, str], mode: str
) -> None:
    assert progress.mode(wanted, stream, environment) == mode


def test_plain_lines_come_at_intervals() -> None:
    stream, now = io.StringIO(), [0.0]
    view = plain.plain([STAGE], stream, interval=10, clock=lambda: now[0], hour=lambda: "12:00:00")
    for second in range(25):
        now[0] = float(second)
        view({**STEP, "step": second})
    view({"event": "evaluation", "stage": 3, "epoch": 1, "metrics": {"bleu": 0.5}, "samples": []})
    view({"event": "log", "stage": 3, "level": "info", "message": "for the file only"})
    assert stream.getvalue().splitlines() == [
        *(
            f"12:00:00 stage 3: epoch 2/8  step {step}/120  loss 0.2500  cosine 0.5000"
            "  1.2 Mcell-steps/s  active 31.0%  memory 420 MiB of 8.00 GiB  3m20s left"
            for step in (0, 10, 20)
        ),
        "12:00:00 stage 3: epoch 2 evaluated: bleu 0.500",
    ]


def drawn(picture: Picture, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(live.render(picture, width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [64, 80, 200])
def test_the_display_shows_what_the_events_say(width: int) -> None:
    picture = Picture({3: {**STAGE, "status": "pending"}})
    live.advance(picture, {"event": "stage_start", "stage": 3})
    live.advance(picture, STEP)
    live.advance(picture, {"event": "clustering", "stage": 3, "clusters": 7})
    sample = ["a [b]", "a [/b] dog", "a dog [i"]
    evaluation = {"bleu": 0.42, "cosine": 0.8}
    live.advance(
        picture,
        {"event": "evaluation", "stage": 3, "metrics": evaluation, "samples": [sample]},
    )
    live.advance(picture, {**STEP, "loss": 0.25})
    text = drawn(picture, width)
    for part in (
        *("6×6×6", "learning", "bleu 0.420", "stage 3: Advanced [train] Learning", "epoch 2/8"),
        *("step 30/120", "3m20s left", "loss 0.2500", "cosine 0.5000", "clusters 7"),
        *("loss ▁▁", "active 31.0%", "1.2 Mcell-steps/s", "memory 420 MiB of 8.00 GiB"),
        *("a [/b] dog", "a dog [i"),
    ):
        assert part in text, part
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_narrow_display_leaves_columns_out_and_breaks_no_word() -> None:
    picture = Picture({3: {**STAGE, "status": "pending"}})
    live.advance(picture, {"event": "stage_start", "stage": 3})
    live.advance(picture, STEP)
    text = drawn(picture, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.splitlines()[1].split() == ["stage", "lattice", "score", "peak", "time"]
    assert "…" not in text
    for word in ("6×6×6", "30/120", "0.2500", "0.5000", "31.0%"):
        assert word in text, word


def test_the_stage_that_comes_next_is_said_to_start() -> None:
    picture = Picture({n: {**STAGE, "stage": n, "status": "pending"} for n in (3, 4)})
    assert "stage 3 is starting" in drawn(picture)
    live.advance(picture, {"event": "stage_start", "stage": 3})
    assert "is starting" not in drawn(picture)
    live.advance(picture, {**STAGE, "event": "stage_done", "status": "completed"})
    assert "stage 4 is starting" in drawn(picture)
    live.advance(picture, {"event": "failed", "stage": 4})
    assert "is starting" not in drawn(picture)


def test_a_finished_stage_shows_its_result() -> None:
    picture = Picture({3: {**STAGE, "status": "pending"}})
    row = {**STAGE, "event": "stage_done", "status": "completed", "seconds": 75.2}
    row |= {"metrics": {"accuracy": 0.9}, "primary": "accuracy", "clusters": 5, "peak_bytes": 2**30}
    live.advance(picture, row)
    text = drawn(picture)
    for part in ("✓", "accuracy 0.900", "1.00 GiB", "1m15s"):
        assert part in text


def test_events_without_numbers_do_not_break_the_display() -> None:
    picture = Picture({3: {**STAGE, "status": "pending"}})
    live.advance(picture, {"event": "stage_start", "stage": 3})
    live.advance(picture, {"event": "step", "stage": 3, "loss": None, "step": 0, "steps": 0})
    assert "loss -" in drawn(picture)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.2, "0s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (86400, "24h00m")],
)
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize("text", ["bleu", "bleu>0.3", "bleu>=", ">=1", "bleu>=1.2.3", "bleu>=0.3x"])
def test_a_requirement_is_metric_sign_number(text: str) -> None:
    with pytest.raises(ConfigError, match="METRIC>=NUMBER"):
        gates.parse(text)


def test_a_requirement_reads_both_ways() -> None:
    assert gates.parse(" loss <= 1e-1 ") == gates.Requirement("loss", True, 0.1)
    assert str(gates.parse("bleu>=0.30")) == "bleu>=0.3"


def test_a_hint_keeps_the_words_but_those_that_change() -> None:
    words = ["--stages", "1-2", "epochs=3", "--from=x", "--seed", "4", "--require", "bleu>=1"]
    kept = gates.without(words, ("--stages", "--from"))
    assert kept == ["epochs=3", "--seed", "4", "--require", "bleu>=1"]


def test_text_of_others_cannot_steer_the_terminal() -> None:
    stream = io.StringIO()
    with progress.showing("plain", [STAGE], stream) as view:
        view({"event": "log", "stage": 3, "level": "warning", "message": "a\x1b[2Jb\x9b1m\r[i]"})
    assert stream.getvalue().endswith(" stage 3: a␛[2Jb\\x9b1m␍[i]\n")


def test_verbose_adds_what_is_meant_for_the_file() -> None:
    said = {"event": "log", "stage": 3, "level": "info", "message": "for the file only"}
    for verbose, expected in ((False, ""), (True, "12:00:00 stage 3: for the file only\n")):
        stream = io.StringIO()
        plain.plain([STAGE], stream, verbose=verbose, hour=lambda: "12:00:00")(said)
        assert stream.getvalue() == expected
