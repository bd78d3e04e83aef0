"""Pair STDP (all-to-all, nearest) and triplet STDP by NEST: coincident pairs do not count."""

import nest
import numpy as np
from trains import CONSTANTS, PAIRS, save, trains

BEGIN = 6000  # ms; stdp_nn_symm takes a spike of every source at 0 for granted
DELAY = 1.0  # ms, all of it between the receiving cell and the synapse: it spikes that much earlier

A_PLUS, A_MINUS, RATE, WINDOWS = (
    CONSTANTS[name] for name in ("a_plus", "a_minus", "learning_rate", "windows")
)


def changes(spikes: np.ndarray, synapse: dict[str, float | str], post: dict[str, float]) -> list:
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.resolution = 1.0
    sources, cells = nest.Create("parrot_neuron", PAIRS), nest.Create("parrot_neuron", PAIRS, post)
    for i in range(PAIRS):
        for train, parrot, early in ((i, sources[i], 0.0), (PAIRS + i, cells[i], DELAY)):
            times = BEGIN + 1.0 + np.flatnonzero(spikes[train]) - early
            nest.Connect(nest.Create("spike_generator", params={"spike_times": times}), parrot)
    nest.Connect(
        sources,
        cells,
        "one_to_one",
        {"weight": 0.5, "delay": DELAY, "receptor_type": 1, **synapse},
    )
    nest.Simulate(BEGIN + spikes.shape[1] + 20.0)
    links = nest.GetConnections(sources, cells, synapse["synapse_model"])
    order = np.argsort(np.array(links.source))
    return (np.array(links.weight)[order] - 0.5) / RATE


def pairs(model: str, window: float) -> tuple[dict[str, float | str], dict[str, float]]:
    synapse = {
        "synapse_model": model,
        "tau_plus": window,
        "lambda": RATE * A_PLUS,
        "alpha": A_MINUS / A_PLUS,
        "mu_plus": 0.0,
        "mu_minus": 0.0,
        "Wmax": 1.0,
    }
    return synapse, {"tau_minus": window}


def triplet() -> tuple[dict[str, float | str], dict[str, float]]:
    synapse = {
        "synapse_model": "stdp_triplet_synapse",
        "tau_plus": CONSTANTS["triplet"]["tau_plus"],
        "tau_plus_triplet": CONSTANTS["triplet"]["tau_x"],
        "Aplus": RATE * CONSTANTS["triplet"]["a2_plus"],
        "Aplus_triplet": RATE * CONSTANTS["triplet"]["a3_plus"],
        "Aminus": RATE * CONSTANTS["triplet"]["a2_minus"],
        "Aminus_triplet": RATE * CONSTANTS["triplet"]["a3_minus"],
        "Wmax": 1.0,
    }
    return synapse, {
        "tau_minus": CONSTANTS["triplet"]["tau_minus"],
        "tau_minus_triplet": CONSTANTS["triplet"]["tau_y"],
    }


if __name__ == "__main__":
    answers = {}
    for window in WINDOWS:
        answers[f"all-to-all {window:g}"] = changes(trains(), *pairs("stdp_synapse", window))
        answers[f"nearest {window:g}"] = changes(trains(), *pairs("stdp_nn_symm_synapse", window))
    answers["triplet"] = changes(trains(), *triplet())
    save("nest", "nest-simulator", answers, coincidence="exclusive")
