"""A presentation forward and backward: against CAX, against JAX, and against the machine."""

import time
from dataclasses import replace

import numpy as np
import torch

from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels.select import PLAIN
from cell_train.model.lattice import Dimensions
from cell_train.model.rollout import Presentation, present
from cell_train.tasks.faces import Faces
from scripts.benchmarks.common import Result, compiled, interleaved, rule, wired

DIMENSIONS, BATCH, TICKS = (16, 16, 16), 8, 8


class Ours:
    """The presentation of the bench, ready to run."""

    def __init__(
        self,
        size: RuleSize,
        density: float,
        dimensions: Dimensions = DIMENSIONS,
        batch: int = BATCH,
    ) -> None:
        self.size, self.batch, self.connections = size, batch, wired(dimensions, density)
        self.rule = rule(size)
        self.how = Presentation(
            self.connections, compiled(size), Faces.write, TICKS, 1, torch.float32
        )
        generator = torch.Generator().manual_seed(0)
        self.drive = torch.randn(*dimensions[:2], batch, size.channels, generator=generator)
        self.drive.requires_grad_()

    def forward(self) -> torch.Tensor:
        return present(self.how, self.drive, self.rule.weights(), self.batch)[0]

    def run(self) -> None:
        loss = self.forward().square().sum()
        torch.autograd.grad(loss, (self.drive, *self.rule.parameters()))


def step(rounds: int) -> list[Result]:
    sizes = ((RuleSize(16, 32, 1), 1.0), (RuleSize(16, 32, 2), 0.3))
    return [one for size, density in sizes for one in peers(size, density, rounds)]


def peers(size: RuleSize, density: float, rounds: int) -> list[Result]:
    """CAX and JAX over ours."""
    from scripts.benchmarks import jax_peers

    ours = Ours(size, density)
    drive = ours.drive.detach().numpy()
    jax_run, jax_last = jax_peers.jax_step(size, ours.connections, drive, TICKS)
    weights = tuple(w.detach().numpy() for w in ours.rule.weights())
    with torch.no_grad():  # the peer computes the same cells, or the ratio means nothing
        np.testing.assert_allclose(jax_last(weights), ours.forward().numpy(), rtol=1e-3, atol=1e-4)
    near = {"ours": ours.run, "jax": lambda: jax_run(weights)}
    seconds = interleaved(near, rounds)
    cax = jax_peers.cax_step(size, DIMENSIONS, BATCH, TICKS)
    far = interleaved({"ours": ours.run, "cax": cax}, max(rounds // 5, 3))
    parts = {
        "kernels": size.kernels,
        "density": density,
        "milliseconds": {n: round(1e3 * s, 1) for n, s in (far | seconds).items()},
        "cell_ticks_per_second": round(16**3 * BATCH * TICKS / seconds["ours"]),
    }
    return [
        Result("vs_cax", far["cax"] / far["ours"], 45, "higher", parts),
        Result("vs_jax", seconds["jax"] / seconds["ours"], 12, "higher", parts),
    ]


def roofline(rounds: int) -> list[Result]:
    """Achieved over the bound from this run's GEMM rate and copy bandwidth, K = 1, density 1."""
    size = RuleSize(16, 32, 1)
    ours = Ours(size, 1.0)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source = torch.randn(1 << 25)
    target = torch.empty_like(source)
    arms = {
        "ours": ours.run,
        "gemm": lambda: torch.mm(a, b),
        "copy": lambda: target.copy_(source),
    }
    seconds = interleaved(arms, rounds)
    flops_rate = 2 * 1024**3 / seconds["gemm"]
    bandwidth = 2 * source.numel() * 4 / seconds["copy"]
    bound = bound_seconds(ours, flops_rate, bandwidth)
    parts = {
        "gemm_gflops": round(flops_rate / 1e9, 1),
        "copy_gb_per_second": round(bandwidth / 1e9, 1),
        "milliseconds": round(1e3 * seconds["ours"], 2),
        "bound_milliseconds": round(1e3 * bound, 2),
        "profile": _profile(ours),
    }
    return [Result("roofline", bound / seconds["ours"], 0.5, "higher", parts)]


def bound_seconds(ours: Ours, flops_rate: float, bandwidth: float | None = None) -> float:
    """The least a presentation can take, forward and backward."""
    size, batch = ours.size, ours.batch
    c, h, k = size.channels, size.hidden, size.kernels
    updates = ours.connections.cells * batch * TICKS
    edges = ours.connections.count * batch * TICKS
    # Forward once, recomputed once in the backward, and two products a forward product there.
    rule_flops = 4 * updates * 2 * ((1 + k) * c * h + h * 2 * c)
    gather_flops = 4 * edges * 2 * k * c
    # A tick reads and writes states: forward 2, write 2, backward reads 2 and writes 1 + 2 K.
    moved = updates * c * 4 * (2 + 4 + 3 + 2 * k)
    computing = (rule_flops + gather_flops) / flops_rate
    return max(computing, moved / bandwidth) if bandwidth else computing


def plain(rounds: int) -> list[Result]:
    """How much longer than compiled a presentation takes in plain torch, in processor time."""
    results = []
    for dimensions, batch, size, density in (
        ((6, 6, 6), 32, RuleSize(8, 16, 1), 0.7),  # stages 3 and 5 without a GPU
        ((10, 10, 7), 32, RuleSize(8, 16, 1), 0.3),
        (DIMENSIONS, BATCH, RuleSize(16, 32, 2), 1.0),
    ):
        ours = Ours(size, density, dimensions, batch)
        presentation, seconds = ours.how, {"compiled": 0.0, "plain": 0.0}
        arms = {"compiled": presentation.kernels, "plain": PLAIN}
        for timed in (False, *[True] * rounds):
            for name, kernels in arms.items():
                ours.how = replace(presentation, kernels=kernels)
                began = time.process_time()
                ours.run()
                seconds[name] += timed * (time.process_time() - began) / rounds
        parts = {"dimensions": dimensions, "batch": batch, "seconds": seconds}
        results.append(
            Result("plain", seconds["plain"] / seconds["compiled"], None, "lower", parts)
        )
    return results


def _profile(ours: Ours) -> dict[str, float]:
    """Milliseconds of a presentation's parts: the compiled calls, and the rest."""
    kernels, spent = ours.how.kernels, {"forward": 0.0, "backward": 0.0}
    wrapped = {}
    for name in spent:

        def timed(*arguments: object, name: str = name) -> object:
            began = time.perf_counter()
            result = getattr(kernels, name)(*arguments)
            spent[name] += time.perf_counter() - began
            return result

        wrapped[name] = timed
    original = ours.how
    ours.how = Presentation(
        original.connections,
        type(kernels)(
            kernels.name, wrapped["forward"], wrapped["backward"], kernels.connection_dot
        ),
        original.write,
        original.ticks,
        original.segment,
        original.storage,
    )
    began, count = time.perf_counter(), 5
    for _ in range(count):
        ours.run()
    whole = (time.perf_counter() - began) / count
    ours.how = original
    per_run = {name: 1e3 * seconds / count for name, seconds in spent.items()}
    return {
        **{name: round(value, 2) for name, value in per_run.items()},
        "rest": round(1e3 * whole - sum(per_run.values()), 2),
    }
