"""STDP drifts under Poisson trains as it must; `scripts/ablate.py drift` is the larger form."""

from scripts.ablations.drift import CONVENTIONS, WINDOWS, measure


def test_poisson_trains_drift_as_the_formulas_say_and_alike_for_all_windows() -> None:
    pair, triplet, spread = measure(connections=400, steps=500, seeds=1)
    assert len(pair.parts) == len(WINDOWS) * len(CONVENTIONS)
    assert len(triplet.parts) == len(WINDOWS)
    assert len(spread.parts) == 2 * len(CONVENTIONS)
    for result in (pair, triplet, spread):
        assert result.value is not None
        assert result.target is not None
        assert result.value <= result.target, result
