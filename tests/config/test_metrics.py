"""Gates are known by name before anything is trained."""

import pytest

from cell_train.config import metrics
from cell_train.errors import ConfigError
from cell_train.runner import gates
from tests.conftest import Resolve


def test_a_gate_is_refused_before_training(resolve_stages: Resolve) -> None:
    stage = resolve_stages("1")[0].stage
    for text in ("bleu>=0.3", "loss<=1", "seconds<=60", "nearest_bleu>=0"):
        gates.check_known(gates.parse(text), stage)
    with pytest.raises(ConfigError, match=r"blue>=0: stage 1 measures no 'blue' \(did you mean"):
        gates.check_known(gates.parse("blue>=0"), stage)
    with pytest.raises(ConfigError, match="METRIC>=NUMBER"):
        gates.parse("bleu>=1e999")


def test_what_a_task_of_ones_own_measures_is_not_known(resolve_stages: Resolve) -> None:
    stage = resolve_stages("1")[0].stage
    stage.task = "mine:Task"
    assert metrics.unknown("anything", stage) is None
