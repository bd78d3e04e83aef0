"""The step: the definition against loops over cells, the compiled path against the definition."""

import math
import platform
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train.cache import library
from cell_train.model import lattice
from cell_train.model.cell_rule import EPSILON, CellRule, RuleSize, RuleWeights
from cell_train.model.kernels import cpp, reference, select
from cell_train.model.kernels.aggregate import aggregate, plain_gather, plain_gather_back
from cell_train.model.lattice import OFFSETS, Connections, Dimensions

SIZE = RuleSize(channels=8, hidden=16, kernels=2)
CASES = [
    ((4, 5, 6), False, 0.5, 7),
    ((5, 4, 3), True, 1.0, 4),
    ((6, 6, 5), False, 0.3, 1),
    ((3, 3, 3), True, 0.2, 9),
]
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler here"
)


@pytest.fixture(scope="session")
def cache() -> cpp.Keep:
    return library


def wired(dimensions: Dimensions, periodic: bool, density: float) -> Connections:
    return lattice.wire(
        dimensions, density=density, strengths=(0.5, 1.5), seed=1, periodic=periodic
    )


def random_rule(size: RuleSize = SIZE, dtype: torch.dtype = torch.float32) -> RuleWeights:
    rule = CellRule(size, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return RuleWeights(*(w.detach().to(dtype) for w in rule.weights()))


def check_step(path: Any, connections: Connections, rule: RuleWeights, batch: int) -> None:
    """A path's tick and gradients are those of the definition; of a record one tick is filled."""
    cells = torch.randn(*connections.dimensions, batch, len(rule.b2) // 2)
    d_next = torch.randn_like(cells)
    record = torch.zeros(connections.cells, 3, batch)
    expected_activity = torch.zeros(connections.cells, batch)
    found = path.forward(connections, rule, cells, record[:, 1])
    expected = reference.forward(connections, rule, cells, expected_activity)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(record[:, 1], expected_activity, rtol=1e-4, atol=1e-5)
    assert not record[:, 0].any()
    assert not record[:, 2].any()
    d_cells, d_rule = path.backward(connections, rule, cells, d_next)
    d_cells_expected, d_rule_expected = reference.backward(connections, rule, cells, d_next)
    torch.testing.assert_close(d_cells, d_cells_expected, rtol=1e-3, atol=1e-4)
    for part, wanted in zip(d_rule, d_rule_expected, strict=True):
        torch.testing.assert_close(part, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def step_by_loops(connections: Connections, rule: RuleWeights, cells: Tensor) -> Tensor:
    """The docstring of cell_rule.py, cell by cell and sample by sample, in Python floats."""
    following = cells.clone()
    dense = connections.dense()
    for i, at in enumerate(product(*map(range, connections.dimensions))):
        for b in range(cells.shape[3]):
            state = cells[(*at, b)].tolist()
            perceived = [[0.0] * len(state) for _ in rule.kernel]
            for o, offset in enumerate(OFFSETS):
                if not connections.exists[i, o]:
                    continue
                there = [a + d for a, d in zip(at, offset, strict=True)]
                if connections.periodic:
                    there[0] %= connections.dimensions[0]
                    there[1] %= connections.dimensions[1]
                seen = cells[(*there, b)].tolist()
                for k, kernel in enumerate(rule.kernel.tolist()):
                    for c, value in enumerate(seen):
                        perceived[k][c] += kernel[o] * float(dense[i, o]) * value
            values = state + [v for part in perceived for v in part]
            hidden = [
                max(0.0, bias + sum(v * w for v, w in zip(values, column, strict=True)))
                for bias, column in zip(rule.b1.tolist(), rule.w1.t().tolist(), strict=True)
            ]
            out = [
                bias + sum(h * w for h, w in zip(hidden, column, strict=True))
                for bias, column in zip(rule.b2.tolist(), rule.w2.t().tolist(), strict=True)
            ]
            v = [p + u for p, u in zip(perceived[0], out, strict=False)]
            power = sum(a * a for a in v) / len(v)
            scale = power / math.sqrt(power + EPSILON) ** 3
            for c, (old, a, g) in enumerate(zip(state, v, out[len(v) :], strict=True)):
                gate = (1 + g / (1 + abs(g))) / 2
                following[(*at, b, c)] = old + gate * (a * scale - old)
    return following


@pytest.mark.parametrize("periodic", [False, True])
def test_the_definition_is_what_loops_over_cells_give(periodic: bool) -> None:
    connections = wired((3, 4, 3), periodic, 0.6)
    rule = random_rule(RuleSize(3, 4, 2), torch.float64)
    cells = torch.randn(3, 4, 3, 2, 3, dtype=torch.float64)
    found, activity = reference.step(connections, rule, cells)
    expected = step_by_loops(connections, rule, cells)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    change = (expected - cells).abs().mean(-1).flatten(0, 2)
    torch.testing.assert_close(activity, change, rtol=1e-10, atol=1e-10)


def test_a_missing_connection_carries_nothing() -> None:
    """Cutting every connection out of a cell leaves all others as if it were silent."""
    connections = wired((4, 4, 4), False, 0.5)
    cut = connections.source == 21
    quiet = connections.exists.clone()
    quiet[connections.exists] = ~cut
    without = lattice.pack((4, 4, 4), False, quiet, connections.dense())
    cells = torch.randn(4, 4, 4, 2, 8)
    silenced = cells.clone()
    silenced.view(64, 2, 8)[21] = 0
    rule = random_rule()
    a, _ = reference.step(without, rule, cells)
    b, _ = reference.step(connections, rule, silenced)
    others = [i for i in range(64) if i != 21]
    torch.testing.assert_close(a.view(64, 2, 8)[others], b.view(64, 2, 8)[others])


# Vectors of 4, 8 and 16 numbers; what of them this processor runs.
PROCESSORS = {"DEFAULT": 1, "AVX2": 2, "AVX512": 3}.get(
    torch.backends.cpu.get_cpu_capability() if platform.machine() == "x86_64" else "", 0
)


@needs_compiler
@pytest.mark.parametrize("march", ("x86-64-v2", "x86-64-v3", "x86-64-v4")[:PROCESSORS])
@pytest.mark.parametrize("size", [RuleSize(8, 16, 1), RuleSize(7, 10, 3)])
def test_the_step_compiled_for_narrower_registers_is_the_definition(
    cache: cpp.Keep, march: str, size: RuleSize
) -> None:
    connections = wired((4, 5, 6), False, 0.5)
    check_step(cpp.load(size, cache, march), connections, random_rule(size), 9)


@needs_compiler
@pytest.mark.parametrize(("dimensions", "periodic", "density", "batch"), CASES)
def test_the_compiled_step_is_the_definition(
    cache: cpp.Keep, dimensions: Dimensions, periodic: bool, density: float, batch: int
) -> None:
    connections, rule = wired(dimensions, periodic, density), random_rule()
    check_step(cpp.load(SIZE, cache), connections, rule, batch)


@pytest.mark.parametrize("periodic", [False, True])
def test_the_aggregation_s_backward_is_its_derivative(periodic: bool) -> None:
    connections = wired((3, 4, 3), periodic, 0.6)
    connections = connections.with_strength(connections.strength.double())
    kernel = torch.randn(2, 26, dtype=torch.float64, requires_grad=True)
    cells = torch.randn(3, 4, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k, c: aggregate(connections, k, c), (kernel, cells))


@needs_compiler
@pytest.mark.parametrize(("dimensions", "periodic", "density", "batch"), CASES)
def test_the_compiled_aggregation_is_the_definition(
    cache: cpp.Keep, dimensions: Dimensions, periodic: bool, density: float, batch: int
) -> None:
    connections, compiled = wired(dimensions, periodic, density), cpp.load(SIZE, cache)
    results = []
    for pair in ((plain_gather, plain_gather_back), (compiled.gather, compiled.gather_back)):
        kernel = torch.randn(2, 26, generator=torch.Generator().manual_seed(0)).requires_grad_()
        cells = torch.randn(
            *dimensions, batch, 8, generator=torch.Generator().manual_seed(1)
        ).requires_grad_()
        sums = aggregate(connections, kernel, cells, *pair)
        sums.square().sum().backward()
        results.append((sums.detach(), cells.grad, kernel.grad))
    for found, expected in zip(results[1], results[0], strict=True):
        assert found is not None
        assert expected is not None
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize("periodic", [False, True])
def test_a_dot_over_connections_joins_their_two_ends(cache: cpp.Keep, periodic: bool) -> None:
    connections = wired((4, 5, 3), periodic, 0.4)
    a, b = torch.randn(60, 11), torch.randn(60, 11)
    expected = (a[connections.cell] * b[connections.source]).sum(1)
    torch.testing.assert_close(reference.connection_dot(connections, a, b), expected)
    compiled = cpp.load(SIZE, cache).connection_dot(connections, a, b)
    torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_the_bits_do_not_depend_on_the_number_of_threads(cache: cpp.Keep) -> None:
    connections, rule = wired((8, 8, 6), False, 0.5), random_rule()
    compiled = cpp.load(SIZE, cache)
    cells = torch.randn(8, 8, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    d_next = torch.randn(cells.shape, generator=torch.Generator().manual_seed(1))
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            d_cells, d_rule = compiled.backward(connections, rule, cells, d_next)
            results.append((d_cells, *d_rule))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_compiler
def test_a_compiler_may_come_with_options(cache: cpp.Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{cpp.compiler()} -mtune=generic")
    check_step(cpp.load(SIZE, cache), wired((3, 3, 3), False, 0.5), random_rule(), 2)
    command = cpp.compilation("ccache g++ -march=haswell", SIZE)
    assert [word for word in command if word.startswith("-march=")] == ["-march=haswell"]


def test_without_a_compiler_the_plain_path_is_taken_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    chosen, reason = select.choose(SIZE, torch.device("cpu"), library)
    assert chosen is select.PLAIN
    assert "no-such-compiler" in reason
    with pytest.raises(cpp.Unavailable):
        select.choose(SIZE, torch.device("cpu"), library, "compiled")


def test_a_compiler_that_fails_is_not_fatal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'out of registers' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    chosen, reason = select.choose(SIZE, torch.device("cpu"), library)
    assert chosen is select.PLAIN
    assert "out of registers" in reason


def test_half_precision_products_stay_close_to_the_definition() -> None:
    connections, rule = wired((4, 4, 4), False, 0.5), random_rule()
    half = select.autocast(torch.device("cpu"), torch.bfloat16)
    cells, activity = torch.randn(4, 4, 4, 2, 8), torch.zeros(64, 2)
    found = half.forward(connections, rule, cells, activity)
    expected = reference.forward(connections, rule, cells, activity.clone())
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)
    d_cells, d_rule = half.backward(connections, rule, cells, torch.ones_like(cells))
    wanted, _ = reference.backward(connections, rule, cells, torch.ones_like(cells))
    assert d_cells.dtype == d_rule.w1.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(d_cells.flatten(), wanted.flatten(), 0) > 0.99
