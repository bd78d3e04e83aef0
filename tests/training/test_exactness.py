"""What was computed otherwise before an interruption is known ever after."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cell_train.training.construction import exactness
from cell_train.training.state import Interrupted
from tests.training.conftest import Make, start

NOW = {"step": "compiled C++", "threads": "2", "micro_batch": "8"}


def test_only_what_differs_is_told_and_once() -> None:
    before = NOW | {"step": "plain torch", "threads": "1"}
    said = ["step plain torch before, compiled C++ now", "threads 1 before, 2 now"]
    assert exactness.changes({"computed": before}, NOW) == said
    assert exactness.changes({"computed": NOW}, NOW) == []
    assert exactness.changes({"computed": NOW, "inexact": said}, NOW) == said
    assert exactness.changes({"computed": before, "inexact": said}, NOW) == said


def test_a_checkpoint_that_says_nothing_or_nonsense_of_it_is_taken() -> None:
    strange: list[dict[str, Any]] = [{}, {"computed": [1], "inexact": 7}, {"computed": {}}]
    for saved in strange:
        assert exactness.changes(saved, NOW) == []


def test_stages_of_a_run_split_their_batches_as_they_like() -> None:
    before = {"computed": NOW | {"micro_batch": "4"}, "inexact": ["of another stage"]}
    assert exactness.changes(before, NOW, same_stage=False) == []
    other = {"computed": NOW | {"step": "plain torch"}}
    assert exactness.changes(other, NOW, same_stage=False) != []


def test_a_stage_that_goes_on_with_other_threads_keeps_that_it_did(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, _ = start(make(), tmp_path, stop_after=2)
    with pytest.raises(Interrupted):
        stopped.run()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    resumed, recorder = start(make(), tmp_path)
    said = ["threads 1 before, 7 now"]
    assert recorder.of("stage_start")[0]["inexact"] == said
    assert said[0] in recorder.of("log")[0]["message"]
    assert resumed.run().inexact == said
