"""Files of events stay small: steps are thinned as they age, and nobody who reads them notices."""

import json
from pathlib import Path

import pytest

from cell_train.run_folder import thinning
from cell_train.run_folder.tail import Follower
from tests.support.runs import Prepare, run


def line(step: int, kind: str = "step") -> str:
    return json.dumps({"event": kind, "time": float(step), "stage": 1, "step": step}) + "\n"


def steps(path: Path) -> list[int]:
    return [json.loads(one)["step"] for one in path.read_text().splitlines()]


def test_of_old_steps_every_second_goes_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(line(n, "evaluation" if n % 10 == 0 else "step") for n in range(200)))
    thinning.thin(path)
    left = steps(path)
    assert set(range(0, 200, 10)) <= set(left)  # evaluations
    assert left[-90:] == list(range(110, 200))
    assert 45 < len([n for n in left if n < 100]) < 60


def test_a_follower_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(map(line, range(100))))
    follower = Follower(path)
    assert len(list(follower.lines())) == 100
    thinning.thin(path)
    with path.open("a") as stream:
        stream.write(line(100) + line(101))
    assert [json.loads(one)["step"] for one in follower.lines()] == [100, 101]


def test_a_run_keeps_its_events_small(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    from cell_train.runner import session

    monkeypatch.setattr(thinning, "MOST", 0)
    monkeypatch.setattr(session, "OFTEN", 1)
    files = prepare("1")
    outcome, shown = run(files)
    kept = [json.loads(one)["event"] for one in files.events.read_text().splitlines()]
    assert outcome.exit_code == 0
    assert kept.count("step") < [event["event"] for event in shown].count("step")
    assert [kind for kind in kept if kind != "step"] == [
        event["event"] for event in shown if event["event"] != "step"
    ]
