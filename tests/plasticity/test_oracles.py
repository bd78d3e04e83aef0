"""STDP as NEST, Brian2 and BindsNET compute it, each run once on the same random trains.

scripts/simulators/ holds the scripts that made the golden files, and their versions. With
`pytest -s` the tests say how far the largest difference goes.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train.plasticity.stdp import StdpRule, Triplet, pair_stdp, triplet_stdp

GOLDEN = Path(__file__).with_name("golden")


def golden(name: str) -> dict[str, Any]:
    return dict(json.loads((GOLDEN / f"{name}.json").read_text()))


TRAINS = golden("trains")
CONSTANTS, PAIRS = TRAINS["constants"], TRAINS["pairs"]
ANSWERS = [
    (library, case)
    for library in ("nest", "brian2", "bindsnet")
    for case in golden(library)["changes"]
]


def dot(at_cell: Tensor, at_source: Tensor) -> Tensor:
    return (at_cell[PAIRS:] * at_source[:PAIRS]).sum(1)


def spikes() -> Tensor:
    trains = torch.zeros(2 * PAIRS, TRAINS["steps"], 1, dtype=torch.float64)
    for train, times in enumerate(TRAINS["times"]):
        trains[train, times] = 1.0
    return trains


def rule(**options: Any) -> StdpRule:
    """The textbook rule; the strengths' changes are given over the learning rate."""
    return StdpRule(learning_rate=1.0, statistic="raw", normalised=False, **options)


@pytest.mark.parametrize(("library", "case"), [a for a in ANSWERS if a[1] != "triplet"])
def test_pair_stdp_is_the_simulators(library: str, case: str) -> None:
    answer = golden(library)
    pairing, window = case.split()
    how = rule(
        time_window=float(window),
        a_plus=CONSTANTS["a_plus"],
        a_minus=CONSTANTS["a_minus"],
        pairing=pairing,
        coincidence=answer["coincidence"],
    )
    found, _ = pair_stdp(spikes(), how, dot)
    expected = torch.tensor(answer["changes"][case], dtype=torch.float64)
    # A strength is the small difference of what it gained and lost: rounding goes with those.
    gained = pair_stdp(spikes(), replace(how, a_minus=0.0), dot)[0].max()
    tolerance = 1e-6 if library == "bindsnet" else 1e-12  # BindsNET adds up float32
    print(f"{library} {case}: {float((found - expected).abs().max() / gained):.0e}")
    torch.testing.assert_close(found / gained, expected / gained, rtol=0, atol=tolerance)


def test_triplet_stdp_is_nests() -> None:
    constants = dict(CONSTANTS["triplet"])
    plus, minus, x, y = (constants.pop(f"tau_{name}") for name in ("plus", "minus", "x", "y"))
    how = rule(time_window=plus, a_minus=1.0)
    triplet = Triplet(minus=minus / plus, x=x / plus, y=y / plus, **constants)
    found, _ = triplet_stdp(spikes(), how, triplet, dot)
    expected = torch.tensor(golden("nest")["changes"]["triplet"], dtype=torch.float64)
    print(f"nest triplet: {float((found - expected).abs().max()):.0e}")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
