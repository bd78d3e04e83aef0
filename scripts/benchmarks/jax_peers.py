"""The two JAX peers of the step: CAX's 3D cellular automaton, and this very lattice."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cax.core import ComplexSystem
from cax.core.perceive import ConvPerceive
from cax.core.update import NCAUpdate
from flax import nnx

from cell_train.model.cell_rule import EPSILON, RuleSize
from cell_train.model.lattice import OFFSETS, Connections


class Automaton(ComplexSystem):
    """A neural cellular automaton of matched widths: depthwise 3x3x3 kernels, one hidden layer."""

    def __init__(self, size: RuleSize, kernels: int) -> None:
        rngs = nnx.Rngs(0)
        self.perceive = ConvPerceive(
            channel_size=size.channels,
            perception_size=kernels * size.channels,
            kernel_size=(3, 3, 3),
            feature_group_count=size.channels,
            rngs=rngs,
        )
        self.update = NCAUpdate(
            channel_size=size.channels,
            perception_size=kernels * size.channels,
            hidden_layer_sizes=(size.hidden,),
            kernel_size=(3, 3, 3),
            rngs=rngs,
        )

    def _step(self, state: Any, input: Any = None, *, sow: bool = False) -> Any:
        return self.update(state, self.perceive(state), input)


def cax_step(size: RuleSize, dimensions: tuple[int, ...], batch: int, ticks: int) -> Callable:
    """Forward and backward through `ticks` steps of CAX with two depthwise kernels."""
    automaton = Automaton(size, kernels=2)
    state = jnp.asarray(np.random.default_rng(0).random((batch, *dimensions, size.channels)), "f4")

    @nnx.jit
    def gradients(automaton: Automaton, state: Any) -> Any:
        def loss(automaton: Automaton, state: Any) -> Any:
            return jnp.square(automaton(state, num_steps=ticks)).sum()

        return nnx.grad(loss, argnums=(0, 1))(automaton, state)

    return lambda: jax.block_until_ready(gradients(automaton, state))


def jax_step(
    size: RuleSize, connections: Connections, drive: np.ndarray, ticks: int
) -> tuple[Callable, Callable]:
    """(forward and backward, the last cells): this lattice with lax.scan and jit."""
    x, y, z = connections.dimensions
    strength = jnp.asarray(connections.dense().view(x, y, z, 26).numpy())
    batch, c, k = drive.shape[2], size.channels, size.kernels

    def tick(weights: tuple, drive: Any, cells: Any, _: Any) -> tuple[Any, None]:
        kernel, w1, b1, w2, b2 = weights
        cells = cells.at[:, :, 0].set(drive)
        padded = jnp.pad(cells, ((1, 1),) * 3 + ((0, 0),) * 2)
        sums = [jnp.zeros_like(cells) for _ in range(k)]
        for o, (dx, dy, dz) in enumerate(OFFSETS):
            seen = padded[1 + dx : 1 + dx + x, 1 + dy : 1 + dy + y, 1 + dz : 1 + dz + z]
            weighted = strength[..., o, None, None] * seen
            sums = [total + kernel[n, o] * weighted for n, total in enumerate(sums)]
        hidden = jax.nn.relu(jnp.concatenate((cells, *sums), -1) @ w1 + b1)
        out = hidden @ w2 + b2
        v, g = sums[0] + out[..., :c], out[..., c:]
        power = (v * v).mean(-1, keepdims=True)
        candidate = v * power * jax.lax.rsqrt(power + EPSILON) ** 3
        return cells + 0.5 * (1 + g / (1 + jnp.abs(g))) * (candidate - cells), None

    def last(weights: tuple, drive: Any) -> Any:
        start = jnp.zeros((x, y, z, batch, c))
        return jax.lax.scan(partial(tick, weights, drive), start, None, length=ticks)[0]

    gradient = jax.jit(
        jax.grad(lambda weights, drive: jnp.square(last(weights, drive)).sum(), argnums=(0, 1))
    )
    forward = jax.jit(last)
    written = jnp.asarray(drive)

    def run(weights: tuple) -> Any:
        return jax.block_until_ready(gradient(weights, written))

    return run, lambda weights: np.asarray(forward(weights, written))
