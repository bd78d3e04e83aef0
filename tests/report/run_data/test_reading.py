"""Whatever a run folder holds, the page is made: in bounds, and with nothing that cannot be."""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from cell_train import events as event_lines
from cell_train.errors import ConfigError, NotSaved
from cell_train.events import Event
from cell_train.report import page
from cell_train.report.run_data import reading
from cell_train.run_folder import locks
from cell_train.run_folder.paths import RunFiles
from tests.report.conftest import Copy, events, html, rewrite

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 10**400, math.nan, math.inf, -math.inf, 1e300, 1e29, 5e-324, 0, 0.0),
    *("", "<i>", "x" * 10_000, [], [[]], [None], [math.nan] * 3, {}, {"a": []}, [1] * 1000),
)


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: repr(value)[:12])
def test_strange_values_are_left_out(copy: Copy, strange: Any) -> None:
    """Every event, every field of it in turn, with a value it cannot have."""
    files = copy()
    told = events(files)
    kinds = {event["event"]: event for event in told}.values()
    spoiled = [{**one, key: strange} for one in kinds for key in one if key != "event"]
    rewrite(files, [*spoiled, *told, *spoiled])
    lattice = json.loads(files.stage(3).lattice.read_text())
    for key in ("strength", "activity", "cluster"):
        lattice[key][0] = strange
    lattice["faces"]["in"][-1] = strange
    files.stage(3).lattice.write_text(json.dumps(lattice))
    for path in (files.summary, files.stage(2).lattice, files.environment):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(dict.fromkeys(record, strange)))
    assert len(html(files)) < 500_000


@pytest.mark.parametrize(
    "deep", ['{"a":' * 900 + "1" + "}" * 900, '{"a":' + "[" * 900 + "]" * 900 + "}"]
)
def test_what_is_nested_deeply_is_not_followed(copy: Copy, deep: str) -> None:
    files = copy()
    for path in (files.environment, files.summary, files.stage(3).lattice):
        path.write_text(deep)
    with files.events.open("a") as stream:
        stream.write(deep + "\n" + "[" * 100_000 + "\n")
    assert "…" in html(files)


def test_it_tells_a_run_cut_off_anywhere(copy: Copy) -> None:
    files = copy()
    whole = files.events.read_bytes()
    for part in range(0, 10):
        files.events.write_bytes(whole[: len(whole) * part // 9])
        assert "stage" in html(files)


def test_a_run_that_has_not_begun_says_so(copy: Copy) -> None:
    files = copy()
    for path in (files.events, files.summary, files.environment):
        path.unlink()
    made = html(files)
    assert "Nothing has been trained yet" in made
    assert "<figure>" not in made


def test_a_run_in_progress_says_what_is_done(copy: Copy) -> None:
    files = copy()
    summary = json.loads(files.summary.read_text())
    summary["status"] = summary["stages"][1]["status"] = "running"
    files.summary.write_text(json.dumps(summary))
    held = locks.take(files.lock)
    assert held is not None
    with contextlib.closing(held):
        made = html(files)
    assert "One of two stages done" in made
    assert "last sign of life" in made
    assert "last sign of life" not in html(files)  # its process is gone


def test_a_resumed_stage_is_told_once(copy: Copy) -> None:
    """What a stage did after the checkpoint it goes on from is told by its second attempt."""
    files = copy()
    told = events(files)
    once = reading.read(files).stages[1]
    third = [event for event in told if event["stage"] == 3]
    rewrite(files, [*told, {**third[0], **_start(third), "step": 0}, *third])
    twice = reading.read(files).stages[1]
    assert twice.points == once.points
    assert twice.evaluations == once.evaluations
    assert twice.clusterings == once.clusterings


def _start(told: list[dict[str, Any]]) -> dict[str, Any]:
    return next(event for event in told if event["event"] == "stage_start")


def test_of_a_long_run_the_end_is_told(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    files = copy()
    told = events(files)
    step = next(event for event in told if event["event"] == "step" and event["stage"] == 3)
    start = {**_start([e for e in told if e["stage"] == 3]), "steps": 5000, "step": 0}
    many = [{**step, "step": n, "loss": 5000 - n} for n in range(1, 5001)]
    last = next(e for e in reversed(told) if e["event"] == "evaluation" and e["stage"] == 3)
    rewrite(files, [start, *many, {**last, "step": 5000, "metrics": {"bleu": 0.625}}])
    monkeypatch.setattr(reading, "MAX_EVENTS", 1 << 16)
    parsed: list[str] = []
    parse = event_lines.parse

    def counted(line: str) -> Event | None:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr(event_lines, "parse", counted)
    stage = reading.read(files).stages[1]
    assert sum(map(len, parsed)) < 3 << 16
    assert stage.evaluations[-1].metrics == {"bleu": 0.625}
    assert stage.points[-1].at > 0.99
    assert len(stage.points) > 50


def test_of_a_file_beyond_all_bounds_the_end_is_told(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = copy()
    whole = files.events.read_text()
    files.events.write_text("x" * (3 << 20) + "\n" + whole)
    before = reading.read(copy()).stages[1].points
    monkeypatch.setattr(reading, "MAX_SCANNED", len(whole.encode()) + 100)
    assert "of events.jsonl the last 0 MiB are told" in html(files)
    assert reading.read(files).stages[1].points == before


def test_many_points_are_thinned_and_the_last_is_kept(copy: Copy) -> None:
    files = copy()
    told = events(files)
    step = next(event for event in told if event["event"] == "step" and event["stage"] == 3)
    start = {**_start([e for e in told if e["stage"] == 3]), "steps": 5000, "step": 0}
    many = [{**step, "step": n, "loss": 5000 - n} for n in range(1, 5001)]
    rewrite(files, [start, *many])
    points = reading.read(files).stages[1].points
    assert len(points) <= reading.POINTS
    assert points[-1].at == 1
    assert points[-1].loss == 0


def test_a_lattice_that_does_not_hang_together_is_not_shown(copy: Copy) -> None:
    files = copy()
    lattice = json.loads(files.stage(3).lattice.read_text())
    assert reading.read(files).stages[1].lattice is not None
    for spoiled in (
        {"strength": lattice["strength"][1:]},
        {"dimensions": [10**6, 10**6, 10**6]},
        {"dimensions": [6, 6]},
        {"activity": "x" * 216},
    ):
        files.stage(3).lattice.write_text(json.dumps({**lattice, **spoiled}))
        assert reading.read(files).stages[1].lattice is None


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(copy: Copy) -> None:
    files = copy()
    for path in (files.events, files.summary, files.stage(3).lattice, files.stage(3).resolved):
        path.unlink()
        os.mkfifo(path)
    assert "Nothing has been trained yet" in html(files)


def test_a_report_is_not_written_through_a_link(copy: Copy, tmp_path: Path) -> None:
    files = copy()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    files.report.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is a link"):
        page.write(files)
    assert not list(elsewhere.iterdir())


def test_a_folder_that_takes_no_report_says_so(copy: Copy) -> None:
    files = copy()
    files.report.write_text("in the way")
    with pytest.raises(NotSaved, match="report: the report cannot be written"):
        page.write(files)


def test_every_number_told_is_in_metrics(trained: RunFiles) -> None:
    """Points, evaluations, histograms and spectra are all in the stages' metrics.jsonl."""
    for stage in reading.read(trained).stages:
        lines = trained.stage(stage.number).metrics.read_text().splitlines()
        known = {
            value for line in lines for value in json.loads(line).values() if type(value) is float
        }
        told = [p.loss for p in stage.points] + [p.cosine for p in stage.points]
        told += [p.active for p in stage.points] + [p.change for p in stage.points]
        told += [value for one in stage.evaluations for value in one.metrics.values()]
        told += [one.mean for one in stage.strengths.values()]
        told += [one.unassigned for one in stage.clusterings]
        assert stage.spectrum is not None
        told += [*stage.spectrum.power, *stage.spectrum.null_high, *stage.spectrum.wavelength]
        told += [stage.seconds]
        assert len(told) > 20
        assert set(told) - known == set()
        counts = [one.counts for one in stage.strengths.values()]
        flat = [json.loads(line) for line in lines]
        recorded = [
            [one[f"counts.{bin}"] for bin in range(40)]
            for one in flat
            if one["event"] == "strengths"
        ]
        assert all(one in recorded for one in counts)
