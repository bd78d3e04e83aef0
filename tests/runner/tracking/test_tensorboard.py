"""TensorBoard's own reader finds what metrics.jsonl says, also after a stage went back."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from cell_train import events
from cell_train.runner.tracking.tensorboard import Board
from tests.support.runs import Prepare, run

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), as TensorBoard shows them."""
    read = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(point.step, round(point.value, 6)) for point in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


def feed(board: Board, kind: str, **fields: Any) -> None:
    board.take({"event": kind, "time": 1.0, "stage": 1, **fields})


def attempt(folder: Path, step: int, *steps: int) -> Board:
    """A board of an attempt that starts at `step` and reports some."""
    board = Board(folder, pytest.fail)
    feed(board, "stage_start", step=step, steps=40, epochs=4, dimensions=[4, 4, 4])
    for number in steps:
        feed(board, "step", epoch=0, step=number, steps=40, loss=number / 10)
    return board


def test_a_run_leaves_its_curves_under_each_stage(prepare: Prepare) -> None:
    files = prepare("3")
    run(files)
    found = curves(files.stage(3).tensorboard)
    rows = [json.loads(line) for line in files.stage(3).metrics.read_text().splitlines()]
    steps = [row for row in rows if row["event"] == "step"]
    assert found["step/loss"] == [(row["step"], round(row["loss"], 6)) for row in steps]
    assert found["evaluation/bleu"] == [(6, 0.3)]
    assert found["clustering/clusters"] == [(1, 5.0)]
    assert not [tag for tag in found if tag.endswith(("/epoch", "/time", "/step", "/steps"))]


def test_a_resumed_stage_has_each_step_once(tmp_path: Path) -> None:
    first = attempt(tmp_path / "b", 0, 1, 5, 10)
    feed(first, "evaluation", epoch=0, step=10, metrics={"bleu": 0.1})
    feed(first, "clustering", epoch=1, clusters=3)
    feed(first, "step", epoch=1, step=14, steps=40, loss=9.0)
    second = attempt(tmp_path / "b", 10)
    feed(second, "clustering", epoch=1, clusters=4)
    feed(second, "step", epoch=1, step=14, steps=40, loss=1.4)
    found = curves(tmp_path / "b")
    assert found["step/loss"] == [(1, 0.1), (5, 0.5), (10, 1.0), (14, 1.4)]
    assert found["evaluation/bleu"] == [(10, 0.1)]
    assert found["clustering/clusters"] == [(11, 4.0)]


def test_a_stage_that_was_rolled_back_shows_what_it_went_on_with(tmp_path: Path) -> None:
    attempt(tmp_path / "b", 0, 1, 20, 30, 22, 31)
    assert [step for step, _ in curves(tmp_path / "b")["step/loss"]] == [1, 20, 22, 31]


def test_without_the_package_nothing_is_written_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    attempt(tmp_path / "b", 0, 1, 2)
    assert not (tmp_path / "b").exists()


def test_a_folder_that_takes_nothing_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("no folder")
    said: list[str] = []
    board = Board(tmp_path / "b", said.append)
    for _ in range(3):
        feed(board, "stage_start", step=0, steps=4, epochs=1)
    assert len(said) == 1
    assert "no more TensorBoard events" in said[0]


def test_a_line_of_metrics_is_flat_however_an_event_is_nested() -> None:
    event = {
        "event": "evaluation",
        "metrics": {"bleu": 0.5, "curve": [0.1, {"at": 2}]},
        "samples": [["a", "b", "c"]],
        "wavevector": [1, 0, -1],
        "strengths": {"quantiles": [0.1, 0.9]},
    }
    assert events.flat(event) == {
        "event": "evaluation",
        "bleu": 0.5,
        "curve.0": 0.1,
        "curve.1.at": 2,
        "wavevector.0": 1,
        "wavevector.1": 0,
        "wavevector.2": -1,
        "strengths.quantiles.0": 0.1,
        "strengths.quantiles.1": 0.9,
    }
