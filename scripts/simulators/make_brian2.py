"""Pair STDP by Brian2: pre runs before post, so that a coincident pair potentiates only."""

import brian2
import numpy as np
from brian2 import Network, SpikeGeneratorGroup, Synapses, ms
from trains import CONSTANTS, PAIRS, save, trains

A_PLUS, A_MINUS, RATE, WINDOWS = (
    CONSTANTS[name] for name in ("a_plus", "a_minus", "learning_rate", "windows")
)


def changes(spikes: np.ndarray, window: float) -> np.ndarray:
    indices, times = np.nonzero(spikes)
    cells = SpikeGeneratorGroup(len(spikes), indices, times * ms, dt=1 * ms)
    synapses = Synapses(
        cells,
        cells,
        """w : 1
        dx/dt = -x / (window * ms) : 1 (event-driven)
        dy/dt = -y / (window * ms) : 1 (event-driven)""",
        on_pre="x += 1; w -= rate * a_minus * y",
        on_post="y += 1; w += rate * a_plus * x",
        namespace={"window": window, "rate": RATE, "a_plus": A_PLUS, "a_minus": A_MINUS},
        dt=1 * ms,
    )
    synapses.connect(i=np.arange(PAIRS), j=np.arange(PAIRS, 2 * PAIRS))
    synapses.w = 0.5
    Network(cells, synapses).run((spikes.shape[1] + 1) * ms)
    return (np.array(synapses.w) - 0.5) / RATE


if __name__ == "__main__":
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 1 * ms
    answers = {f"all-to-all {window:g}": changes(trains(), window) for window in WINDOWS}
    save("brian2", "brian2", answers, coincidence="pre-first")
