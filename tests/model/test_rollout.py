"""A presentation: its gradients, what storing less changes, and that a signal crosses."""

import pytest
import torch
from torch import Tensor

from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels import reference, select
from cell_train.model.network import Network
from cell_train.model.rollout import Write
from cell_train.tasks.faces import OntoFace

SIZE = RuleSize(channels=6, hidden=10, kernels=2)
DIMENSIONS = (4, 3, 5)


def write(cells: Tensor, x: Tensor) -> Tensor:
    return torch.cat((x[:, :, None], cells[:, :, 1:]), 2)


def network(**how: object) -> Network:
    connections = lattice.wire(DIMENSIONS, density=0.6, strengths=(0.75, 1.25), seed=0)
    rule = CellRule(SIZE, torch.Generator().manual_seed(0))
    arguments = {"ticks": 7, "segment": 1, "storage": torch.float32} | how
    return Network(connections, rule, SIZE, select.PLAIN, **arguments)  # type: ignore[arg-type]


def drive() -> Tensor:
    return torch.randn(4, 3, 2, 6, generator=torch.Generator().manual_seed(5)).requires_grad_()


def gradients(net: Network, write: Write = write) -> list[Tensor]:
    x = drive()
    cells, _ = net(x, write, 2)
    cells[:, :, -1].square().sum().backward()
    return [x.grad, *(p.grad for p in net.rule.parameters())]


def test_gradients_are_those_of_autograd_through_every_tick() -> None:
    net, x = network(), drive()
    cells = torch.zeros(*DIMENSIONS, 2, 6)
    for _ in range(net.ticks):
        cells, _ = reference.step(net.connections, net.rule.weights(), write(cells, x))
    cells[:, :, -1].square().sum().backward()
    expected = [x.grad, *(p.grad for p in net.rule.parameters())]
    for found, wanted in zip(gradients(network()), expected, strict=True):
        assert wanted is not None
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("segment", [1, 3])
def test_writing_in_place_changes_no_bit(segment: int) -> None:
    """With its own backward, too: nothing that is still needed is overwritten."""
    copied, in_place = gradients(network()), gradients(network(segment=segment), OntoFace())
    assert all(torch.equal(a, b) for a, b in zip(copied, in_place, strict=True))


@pytest.mark.parametrize("segment", [2, 3, 7, 20])
@pytest.mark.parametrize("storage", [torch.float32, torch.bfloat16])
def test_storing_fewer_states_changes_no_bit(segment: int, storage: torch.dtype) -> None:
    every = gradients(network(storage=storage))
    fewer = gradients(network(storage=storage, segment=segment))
    assert all(torch.equal(a, b) for a, b in zip(every, fewer, strict=True))


@pytest.mark.parametrize("segment", [1, 3])
def test_credit_is_how_far_each_message_lies_along_what_lowers_the_loss(segment: int) -> None:
    """Against a loop over cells and neighbours, with the gradients of autograd at every tick."""
    net, x = network(segment=segment), drive()
    credit = net.credit()
    for _ in range(2):  # it adds up, as over micro-batches
        net(drive(), write, 2, credit)[0][:, :, -1].square().sum().backward()
    cells = torch.zeros(*DIMENSIONS, 2, 6)
    shown, moved = [], []
    for _ in range(net.ticks):
        written = write(cells, x)
        cells, _ = reference.step(net.connections, net.rule.weights(), written)
        cells.retain_grad()
        shown.append(written.detach())
        moved.append(cells)
    cells[:, :, -1].square().sum().backward()
    expected = []
    for place in net.connections.place.tolist():
        cell, o = divmod(place, len(lattice.OFFSETS))
        at = torch.unravel_index(torch.tensor(cell), DIMENSIONS)
        source = tuple(int(a) + step for a, step in zip(at, lattice.OFFSETS[o], strict=True))
        agreed = sum(
            float((after.grad[at] * before[source]).sum())
            for before, after in zip(shown, moved, strict=True)
            if after.grad is not None
        )
        expected.append(-2 * agreed * float(net.rule.kernel[0, o].detach()))
    assert credit.grad is not None
    torch.testing.assert_close(credit.grad, torch.tensor(expected), rtol=1e-3, atol=1e-5)


def test_half_precision_storage_stays_close() -> None:
    with torch.no_grad():
        full, _ = network()(drive(), write, 2)
        half, _ = network(storage=torch.bfloat16)(drive(), write, 2)
    assert not torch.equal(full, half)
    assert torch.nn.functional.cosine_similarity(full.flatten(), half.flatten(), dim=0) > 0.999


def test_no_state_is_stored_when_nothing_will_be_differentiated() -> None:
    net = network()
    with torch.no_grad():
        cells, _ = net(drive(), write, 2)
    assert not cells.requires_grad


def test_a_fresh_lattice_carries_its_input_across_and_not_before_its_time() -> None:
    """One cell a tick: after Z - 1 ticks the far face is silent, after Z it knows the input."""

    def far_face(ticks: int, x: Tensor) -> Tensor:
        with torch.no_grad():
            cells, _ = network(ticks=ticks)(x, write, 2)
        return cells[:, :, -1]

    x = drive().detach()
    assert not far_face(DIMENSIONS[2] - 2, x).any()
    here, other = far_face(7, x), far_face(7, -x)
    assert here.square().mean() > 0.1
    assert torch.nn.functional.cosine_similarity(here.flatten(), other.flatten(), dim=0) < 0


def test_activity_is_the_mean_absolute_change_at_each_tick() -> None:
    net, x = network(), drive().detach()
    with torch.no_grad():
        _, activity = net(x, write, 2)
        cells = torch.zeros(*DIMENSIONS, 2, 6)
        for tick in range(net.ticks):
            before = write(cells, x)
            cells, _ = reference.step(net.connections, net.rule.weights(), before)
            change = (cells - before).abs().mean(-1).flatten(0, 2)
            torch.testing.assert_close(activity[:, tick], change)


def test_the_batch_changes_no_sample() -> None:
    together, alone = network(), network()
    x = drive().detach()
    with torch.no_grad():
        both, _ = together(x, write, 2)
        first, _ = alone(x[:, :, :1].contiguous(), write, 1)
    torch.testing.assert_close(both[:, :, :, :1], first)


@pytest.mark.parametrize("depth", [6, 36])
def test_a_deep_lattice_has_gradients_of_the_size_a_shallow_one_has(depth: int) -> None:
    """Silent cells ahead of the wave must not multiply what flows back through them."""
    connections = lattice.wire((4, 3, depth), density=1.0, strengths=(0.75, 1.25), seed=0)
    rule = CellRule(SIZE, torch.Generator().manual_seed(0))
    cells, _ = Network(connections, rule, SIZE, select.PLAIN, ticks=depth + 2)(drive(), write, 2)
    towards = torch.randn(cells[:, :, -1].shape, generator=torch.Generator().manual_seed(1))
    (cells[:, :, -1] * towards).sum().backward()
    norms = [float(p.grad.norm()) for p in rule.parameters() if p.grad is not None]
    assert all(0.01 < norm < 1e4 for norm in norms), norms


@pytest.mark.parametrize("onto", [OntoFace(), write])
def test_silenced_cells_stay_at_zero_and_pass_nothing_on(onto: Write) -> None:
    """With and without a graph; a lattice cut through its middle carries nothing across."""
    net, cut = network(), torch.ones(*DIMENSIONS, 1, 1)
    cut[:, :, 2] = 0
    whole, _ = net(drive(), onto, 2)
    net = net.silenced(cut)
    cells, _ = net(drive(), onto, 2)
    with torch.no_grad():
        same, _ = net(drive(), onto, 2)
    assert whole[:, :, -1].any()
    assert not cells[:, :, 2:].any()
    assert torch.equal(cells, same)
    x = drive()
    net(x, onto, 2)[0][:, :, -1].sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def chosen(seed: int, tick: int) -> Tensor:
    random = torch.Generator().manual_seed(seed + tick)
    return (torch.rand(*DIMENSIONS, 2, generator=random) < 0.5)[..., None]


@pytest.mark.parametrize("segment", [1, 3])
def test_cells_that_sit_out_a_tick_keep_their_state_and_pass_its_gradient_on(segment: int) -> None:
    net, plain = network(update_probability=0.5, segment=segment), network()
    begin = torch.randn(*DIMENSIONS, 2, 6, generator=torch.Generator().manual_seed(1))
    results = []
    for by_hand in (True, False):
        one = plain if by_hand else net
        x, start = drive(), begin.clone().requires_grad_()
        if by_hand:
            cells = start
            for tick in range(net.ticks):
                written = write(cells, x)
                following, _ = reference.step(one.connections, one.rule.weights(), written)
                cells = torch.where(chosen(11, tick), following, written)
        else:
            cells, activity = one(x, write, 2, start=start, seed=11)
            asleep = ~chosen(11, 2).flatten(0, 2)[..., 0]
            assert asleep.any()
            assert not activity[:, 2][asleep].any()
            assert activity[:, 2].any()
        cells.square().sum().backward()
        results.append([x.grad, start.grad, *(p.grad for p in one.rule.parameters())])
    for wanted, found in zip(*results, strict=True):
        assert wanted is not None
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_presentation_in_two_parts_is_the_whole_of_it() -> None:
    net = network(update_probability=0.7)
    whole, _ = net(drive(), write, 2, seed=3)
    half, _ = net(drive(), write, 2, seed=3, ticks=4)
    before = half.clone()
    rest, _ = net(drive(), write, 2, seed=3 + 4, ticks=3, start=half)
    assert torch.equal(rest, whole)
    assert torch.equal(half, before)  # what it began from is the caller's
