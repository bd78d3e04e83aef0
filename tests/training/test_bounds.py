"""What a checkpoint says of itself is held against its stage before anything of it is used."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cell_train.config.schema import ResolvedStage
from cell_train.errors import CheckpointError
from cell_train.run_folder.paths import StageFiles
from cell_train.training import checkpoint
from cell_train.training.state import Interrupted
from tests.training.conftest import small, start

Saved = dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResolvedStage, Saved]:
    """A stage and its checkpoint after two steps."""
    folder = tmp_path_factory.mktemp("trained")
    resolved = small(folder / "text.txt")
    trainer, _ = start(resolved, folder, stop_after=2)
    with pytest.raises(Interrupted):
        trainer.run()
    saved, _, _ = checkpoint.newest(StageFiles(folder).checkpoints)
    assert saved is not None
    return resolved, saved


def moments(saved: Saved) -> Saved:
    return dict(next(iter(saved["optimizer"]["state"].values())))


def put(*names: str, value: Any) -> Callable[[Saved], None]:
    """Set a value deep inside."""

    def harm(saved: Saved) -> None:
        for name in names[:-1]:
            saved = saved[name]
        saved[names[-1]] = value

    return harm


def within(*names: str, value: float) -> Callable[[Saved], None]:
    """Set the first number of a tensor deep inside."""

    def harm(saved: Saved) -> None:
        for name in names:
            saved = saved[name]
        saved.view(-1)[0] = value  # type: ignore[attr-defined]

    return harm


def of_the_optimizer(name: str, value: float) -> Callable[[Saved], None]:
    return lambda saved: moments(saved)[name].view(-1)[0].fill_(value)


NAN, INF = float("nan"), float("inf")
HARMS: dict[str, tuple[Callable[[Saved], object], str]] = {
    "unfolds": (
        put("plastic", "theta", value=torch.zeros(1).expand(1 << 40)),
        "not all are stored",
    ),
    "overlaps": (
        put("plastic", "theta", value=torch.zeros(64).as_strided((1 << 20,), (0,))),
        "not all are stored",
    ),
    "sparse": (put("plastic", "theta", value=torch.zeros(64).to_sparse()), "of a kind"),
    "nested": (put("totals", value=[[[[[[[[[[1]]]]]]]]]]), "nested deeper"),
    "threshold nan": (within("plastic", "theta", value=NAN), "not finite"),
    "moment inf": (of_the_optimizer("exp_avg", INF), "not finite"),
    "rule nan": (put("rule", "w", value=torch.tensor(NAN)), "not finite"),
    "threshold below": (within("plastic", "theta", value=-1.0), "no activity leads"),
    "square below": (of_the_optimizer("exp_avg_sq", -1.0), "is negative"),
    "steps below": (of_the_optimizer("step", -3.0), "is negative"),
    "strength above": (within("connections", "strength", value=50.0), "strengths .* reach"),
    "strength below": (within("connections", "strength", value=-1.0), "hang together"),
    "other kind": (
        put("plastic", "theta", value=torch.zeros(64, dtype=torch.float64)),
        "plastic state",
    ),
    "step below": (put("totals", "step", value=-1), "step is -1"),
    "step a word": (put("totals", "step", value="many"), "step is 'many'"),
    "step true": (put("totals", "rollbacks", value=True), "rollbacks is True"),
    "loss nan": (put("totals", "loss", value=NAN), "loss is nan"),
    "seconds below": (put("totals", "seconds", value=-5.0), "seconds"),
    "quiet": (put("adaptation", "quiet_steps", value=-1), "quiet_steps"),
    "labels": (put("adaptation", "labels", value=torch.full((64,), 99)), "no clusters"),
    "labels short": (put("adaptation", "labels", value=torch.zeros(3).long()), "no clusters"),
    "cosine": (put("adaptation", "cosine", value=torch.zeros(2)), "affinities"),
    "past": (put("adaptation", "past", value=[("x", torch.zeros(64).long())]), "no epoch"),
    "scale": (put("scaler", value={"scale": 0.0}), "scale"),
    "dimensions": (put("connections", "dimensions", value=[1 << 30, 4, 4]), "hang together"),
}


def use(path: Path, resolved: ResolvedStage) -> None:
    """Load a checkpoint, and take the stage up with it."""
    checkpoint.load(path)
    start(resolved, path.parents[1])


@pytest.mark.parametrize("harm", HARMS)
def test_what_no_stage_saves_is_one_sentence(
    trained: tuple[ResolvedStage, Saved], tmp_path: Path, harm: str
) -> None:
    resolved, sound = trained
    saved = copy.deepcopy(sound)
    do, says = HARMS[harm]
    do(saved)
    path, _ = checkpoint.save(tmp_path / "checkpoints", saved, step=2, keep=1)
    with pytest.raises(CheckpointError, match=says) as raised:
        use(path, resolved)
    assert "\n" not in str(raised.value)


def test_what_a_stage_saves_is_taken_up(
    trained: tuple[ResolvedStage, Saved], tmp_path: Path
) -> None:
    resolved, saved = trained
    checkpoint.save(tmp_path / "checkpoints", saved, step=2, keep=1)
    trainer, recorder = start(resolved, tmp_path)
    assert trainer.state.totals.step == 2
    assert recorder.of("log") == []
