"""Pair STDP (all-to-all, nearest) by BindsNET in float32: a coincident pair counts twice."""

import sys
from unittest.mock import MagicMock

import numpy as np
import torch

# What its data sets, environments and plots import, and its rules do not need.
UNUSED = "torchvision torchvision.utils cv2 gymnasium ale_py pandas tensorboardX"
sys.modules |= {name: MagicMock() for name in UNUSED.split()}

from bindsnet.learning import PostPre  # noqa: E402
from bindsnet.network.nodes import Input  # noqa: E402
from bindsnet.network.topology import Connection  # noqa: E402
from trains import CONSTANTS, PAIRS, save, trains  # noqa: E402

A_PLUS, A_MINUS, RATE, WINDOWS = (
    CONSTANTS[name] for name in ("a_plus", "a_minus", "learning_rate", "windows")
)


def changes(spikes: np.ndarray, window: float, additive: bool) -> np.ndarray:
    # Network.run with two Input layers corrupts the receiving spikes: step the parts by hand.
    layers = [
        Input(n=PAIRS, traces=True, traces_additive=additive, tc_trace=window) for _ in range(2)
    ]
    link = Connection(
        *layers,
        w=torch.zeros(PAIRS, PAIRS),
        update_rule=PostPre,
        nu=(RATE * A_MINUS, RATE * A_PLUS),
    )
    for layer in layers:
        layer.compute_decays(1.0)
        layer.set_batch_size(1)
    for step in torch.tensor(spikes.T):
        for layer, fired in zip(layers, step.split(PAIRS), strict=True):
            layer.forward(fired[None].bool())
        link.update_rule.update()
    return link.w.detach().diagonal().numpy().astype(np.float64) / RATE


if __name__ == "__main__":
    answers = {}
    for window in WINDOWS:
        answers[f"all-to-all {window:g}"] = changes(trains(), window, additive=True)
        answers[f"nearest {window:g}"] = changes(trains(), window, additive=False)
    save("bindsnet", "bindsnet", answers, coincidence="inclusive", torch=torch.__version__)
