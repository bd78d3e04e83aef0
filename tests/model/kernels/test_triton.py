"""The Triton step against the definition, on a CPU: Triton's interpreter runs its programs.

The interpreter is chosen when Triton is first imported, so these tests run in a process of their
own, which the first one starts.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cell_train.cache import library
from cell_train.model.cell_rule import RuleSize, RuleWeights
from cell_train.model.kernels import cpp, reference, select
from cell_train.model.lattice import Connections, Dimensions
from tests.model.kernels.test_step import SIZE, check_step, random_rule, wired

pytest.importorskip("triton", reason="Triton is not installed here", exc_type=ImportError)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run in a process of its own")


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
def test_in_a_process_where_triton_interprets() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@interpreted
@pytest.mark.parametrize(
    ("size", "dimensions", "periodic", "density", "batch"),
    [
        # Interpreting takes half a second a program, so: few of them.
        (SIZE, (3, 4, 4), True, 0.5, 4),
        (RuleSize(16, 32, 1), (3, 4, 3), False, 1.0, 2),  # as one that ships
        (RuleSize(5, 20, 3), (3, 3, 5), False, 0.3, 1),  # widths that are no powers of two
    ],
)
def test_the_triton_step_is_the_definition(
    monkeypatch: pytest.MonkeyPatch,
    size: RuleSize,
    dimensions: Dimensions,
    periodic: bool,
    density: float,
    batch: int,
) -> None:
    from cell_train.model.kernels import triton_step

    monkeypatch.setattr(triton_step, "PROGRAMS", 1)  # fewer than there is to do
    connections, rule = wired(dimensions, periodic, density), random_rule(size)
    check_step(triton_step, connections, rule, batch)


@interpreted
def test_cells_in_half_that_lie_apart_and_a_sample_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read as they are stored, rounded as they follow; in slabs of a block each."""
    from cell_train.model.kernels import triton_step

    shape = triton_step.shape
    monkeypatch.setattr(triton_step, "SLAB", 1)
    monkeypatch.setattr(
        triton_step, "shape", lambda rule, _: replace(shape(rule, 4), samples=4, even=False)
    )
    connections, rule = wired((3, 4, 4), False, 0.5), random_rule()
    cells = torch.randn(3, 4, 4, 3, 16).bfloat16()[..., ::2]
    d_next = torch.randn(3, 4, 4, 3, 16)[..., 1::2]
    activity, wanted = torch.zeros(48, 3), torch.zeros(48, 3)
    following = triton_step.forward(connections, rule, cells, activity)
    expected = reference.forward(connections, rule, cells.float(), wanted)
    assert following.dtype == torch.bfloat16
    torch.testing.assert_close(following.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(activity, wanted, rtol=1e-4, atol=1e-5)
    d_cells, d_rule = triton_step.backward(connections, rule, cells, d_next)
    d_cells_expected, d_rule_expected = reference.backward(connections, rule, cells.float(), d_next)
    torch.testing.assert_close(d_cells, d_cells_expected, rtol=1e-3, atol=1e-4)
    for part, one in zip(d_rule, d_rule_expected, strict=True):
        torch.testing.assert_close(part, one, rtol=1e-3, atol=1e-4 * float(one.abs().max()))


@interpreted
@pytest.mark.parametrize("periodic", [False, True])
def test_a_triton_dot_over_connections_joins_their_two_ends(periodic: bool) -> None:
    from cell_train.model.kernels import triton_step

    connections = wired((4, 5, 3), periodic, 0.4)
    a, b = torch.randn(60, 70), torch.randn(60, 70)
    found = triton_step.connection_dot(connections, a, b)
    expected = reference.connection_dot(connections, a, b)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `choose` check the Triton path on the CPU where it means to check it on a GPU."""
    check = select.fused
    monkeypatch.setattr(select, "fused", lambda size, _: check(size, torch.device("cpu")))


@interpreted
def test_a_triton_step_that_agrees_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_the_cpu(monkeypatch)
    cuda = torch.device("cuda")
    chosen, reason = select.choose(SIZE, cuda, library, precision=torch.bfloat16)
    assert chosen.name == "fused Triton"
    assert "float32 arithmetic" in reason
    chosen, reason = select.choose(SIZE, cuda, library, "plain", torch.bfloat16)
    assert (chosen.name, reason) == ("plain torch, bfloat16 products", "asked for")


@interpreted
@pytest.mark.parametrize("flaw", ["w2 by a hundredth", "raises"])
def test_a_wrong_triton_step_is_found_out_and_left(
    monkeypatch: pytest.MonkeyPatch, flaw: str
) -> None:
    from cell_train.model.kernels import triton_step

    def wrong(
        connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
    ) -> tuple[Tensor, RuleWeights]:
        if flaw == "raises":
            raise RuntimeError("out of resource: shared memory")
        d_cells, d_rule = reference.backward(connections, rule, cells, d_next)
        return d_cells, d_rule._replace(w2=1.01 * d_rule.w2)

    monkeypatch.setattr(triton_step, "forward", reference.forward)
    monkeypatch.setattr(triton_step, "connection_dot", reference.connection_dot)
    monkeypatch.setattr(triton_step, "backward", wrong)
    on_the_cpu(monkeypatch)
    chosen, reason = select.choose(SIZE, torch.device("cuda"), library)
    assert chosen is select.PLAIN
    assert ("shared memory" if flaw == "raises" else "gradient of w2 differs") in reason
    with pytest.raises(cpp.Unavailable):
        select.choose(SIZE, torch.device("cuda"), library, "compiled")
