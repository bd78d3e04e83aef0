"""The Triton step against the definition, on a CPU: Triton's interpreter runs its programs.

The interpreter is chosen when Triton is first imported, so these tests run in a process of their
own, which the first one starts.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cell_train.cache import library
from cell_train.model.cell_rule import RuleSize, RuleWeights
from cell_train.model.kernels import cpp, reference, select
from cell_train.model.lattice import Connections, Dimensions
from tests.model.kernels.test_step import CASES, SIZE, check_step, random_rule, wired

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


def cubes_of(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton.language as tl

    from cell_train.model.kernels import triton_step

    monkeypatch.setattr(triton_step, "SIDE", tl.constexpr(side))
    monkeypatch.setattr(triton_step, "ROWS", tl.constexpr(side**3))


@interpreted
@pytest.mark.parametrize(
    ("size", "dimensions", "periodic", "density", "batch", "side"),
    [
        # Interpreting takes half a second a program, so: large cubes and not all samples.
        *((SIZE, *case, min(batch, 3), 8) for *case, batch in CASES),
        (RuleSize(5, 20, 3), (5, 3, 6), False, 0.5, 1, 4),  # widths that are no powers of two
        (RuleSize(16, 32, 1), (2, 5, 3), True, 1.0, 1, 4),
    ],
)
def test_the_triton_step_is_the_definition(
    monkeypatch: pytest.MonkeyPatch,
    size: RuleSize,
    dimensions: Dimensions,
    periodic: bool,
    density: float,
    batch: int,
    side: int,
) -> None:
    from cell_train.model.kernels import triton_step

    cubes_of(side, monkeypatch)
    monkeypatch.setattr(triton_step, "PROGRAMS", 2)  # fewer than there is to do
    connections, rule = wired(dimensions, periodic, density), random_rule(size)
    check_step(triton_step, connections, rule, batch)


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
    monkeypatch.setattr(
        select, "fused", lambda size, _, cache: check(size, torch.device("cpu"), cache)
    )


@interpreted
def test_a_triton_step_that_agrees_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_the_cpu(monkeypatch)
    cubes_of(8, monkeypatch)
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
