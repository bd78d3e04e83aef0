"""What decides the bits of a result beside the stage itself, and what of it changed under way."""

import platform
from collections.abc import Mapping
from typing import Any

import torch

from cell_train.config.schema import Execution
from cell_train.training.state import State

SHOWN = 60  # characters of a value: a checkpoint may come from a stranger
OF_A_STAGE = ("micro_batch", "precision")  # which each stage has of its own


def computed(state: State, execution: Execution) -> dict[str, str]:
    """How a stage is computed here: all on which sums and their order depend."""
    cuda = state.model.device.type == "cuda"
    return {
        "step": state.model.network.kernels.name,
        "instructions": _gpu() if cuda else f"{platform.machine()} {_instructions()}",
        "threads": str(torch.get_num_threads()),
        "micro_batch": str(execution.micro_batch),
        "precision": execution.precision,
        "torch": str(torch.__version__),  # a class of its own, which no checkpoint may hold
    }


def changes(saved: Mapping[str, Any], now: Mapping[str, str], same_stage: bool = True) -> list[str]:
    """What a checkpoint says was computed otherwise, before it was made or from now on.

    An older checkpoint says nothing of it.
    """
    noted = saved.get("inexact") if same_stage else []
    found = [str(one) for one in noted] if isinstance(noted, list) else []
    noted = saved.get("computed")
    before = noted if isinstance(noted, dict) else {}
    for name, value in now.items():
        had = str(before.get(name, value))[:SHOWN]
        if had != value and (same_stage or name not in OF_A_STAGE):
            found.append(f"{name} {had} before, {value} now")
    return list(dict.fromkeys(found))


def _instructions() -> str:
    """The vector instructions torch uses."""
    return torch.backends.cpu.get_cpu_capability()


def _gpu() -> str:
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()} {major}.{minor}, CUDA {torch.version.cuda}"
