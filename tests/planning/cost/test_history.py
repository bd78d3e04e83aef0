"""What a stage took is shown beside the prediction the next time, and nothing can break that."""

from dataclasses import replace
from pathlib import Path

import pytest

from cell_train import cache
from cell_train.planning.cost import history
from tests.conftest import MakePlan


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_only_the_same_configuration_remembers(make_plan: MakePlan) -> None:
    one = make_plan("2").stages[0]
    assert one.measured_peak_bytes is None
    history.remember(one.stage, one.execution, 123)
    history.remember(one.stage, one.execution, 456)
    assert make_plan("2").stages[0].measured_peak_bytes == 456
    assert make_plan("3").stages[0].measured_peak_bytes is None
    assert make_plan("2", ["lattice.channels=24"]).stages[0].measured_peak_bytes is None
    assert history.measured(one.stage, replace(one.execution, segment=2)) is None
    described = make_plan("2", ["description=another", "training.learning_rate=0.1"])
    assert described.stages[0].measured_peak_bytes == 456  # neither takes memory


@pytest.mark.parametrize("text", ["", "[]", '{"peaks": [1]}', '{"peaks": {"a": "b"}}', "{"])
def test_a_damaged_file_knows_nothing_and_is_replaced(make_plan: MakePlan, text: str) -> None:
    one = make_plan("2").stages[0]
    history.remember(one.stage, one.execution, 1)
    (cache.room() / history.FILE).write_text(text)
    assert history.measured(one.stage, one.execution) is None
    history.remember(one.stage, one.execution, 2)
    assert history.measured(one.stage, one.execution) == 2


def test_the_file_stays_small(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 3)
    one = make_plan("2").stages[0]
    for segment in range(1, 6):
        history.remember(one.stage, replace(one.execution, segment=segment), segment)
    known = [history.measured(one.stage, replace(one.execution, segment=n)) for n in range(1, 6)]
    assert known == [None, None, 3, 4, 5]


def test_a_cache_that_cannot_be_written_is_no_failure(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "celltrain").write_text("a file, where the folder should be")
    one = make_plan("2").stages[0]
    history.remember(one.stage, one.execution, 1)
    assert history.measured(one.stage, one.execution) is None
