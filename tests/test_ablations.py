"""The statistics that the ablations are reported with."""

import itertools
import random

import pytest
import torch

from scripts.ablations import runs, text
from scripts.ablations.contrast import bootstrap, holm, paired, sign_flip, table


def test_sign_flips_count_every_mean_at_least_as_far_from_zero() -> None:
    assert sign_flip([1.0, 1.0, 1.0, 1.0]) == pytest.approx(2 / 16)
    assert sign_flip([1.0, -1.0]) == 1.0
    assert sign_flip([3.0, 1.0, -0.5]) == pytest.approx(4 / 8)  # |sum| 3.5: +++ and ++- , mirrored


def test_holm_corrects_as_published() -> None:
    # Holm 1979: the smallest times the number of tests, the next times one less, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    draw = random.Random(0)
    seen = [bootstrap([draw.gauss(0, 1) for _ in range(20)], 200) for _ in range(100)]
    covered = sum(low <= 0 <= high for low, high in seen) / len(seen)
    assert 0.85 < covered < 1.0


def test_only_pairs_of_one_seed_are_contrasted() -> None:
    records = {
        (arm, seed): {"bleu": base + seed / 10 + (seed == 2) * (arm == "off")}
        for (arm, base), seed in itertools.product((("full", 0.3), ("off", 0.2)), range(3))
    }
    del records["full", 2]
    (one,) = paired(records, ["full", "off"], ["bleu"])
    assert one.differences == pytest.approx([-0.1, -0.1])
    assert (one.mean, one.base_mean) == pytest.approx((0.25, 0.35))
    assert "| off | 0.250 | -0.100 | -0.100 to -0.100 | 0.500 | 2 |" in table([one])


def test_healing_changes_strengths_and_nothing_else() -> None:
    (stage,) = runs.resolved("1", (*text.WORDS, "plasticity.three_factor.rate=0.8"), seed=0)
    stage.stage.epochs, stage.execution.samples_per_epoch = 1, 64
    (done,) = runs.trained([stage])
    state = done.trainer.state
    strength = state.model.network.connections.strength.clone()
    weights = [one.detach().clone() for one in state.parameters()]
    hurt = done.metrics(0.2)
    assert done.healed(0.2, 2) != hurt
    assert not torch.equal(state.model.network.connections.strength, strength)
    assert all(
        torch.equal(p, before) for p, before in zip(state.parameters(), weights, strict=True)
    )
