"""Does what the plan says fits really run where there is no more memory?

Each plan is made for a limit drawn at random and trained in a fork of this process, to which the
system gives that much address space beyond what it has and not a byte more: an allocation beyond
it fails, and so does the plan. Tensors get pages of their own here, so that what a process takes
is what its tensors take: what glibc's heap loses between them is told by `bench.py resident`.
"""

import ctypes
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from cell_train.diagnostics.calibrate import COMMON
from cell_train.planning import plan as planning
from cell_train.planning.cost import calibration, timing
from cell_train.planning.cost.calibration import Calibration
from cell_train.planning.plan import StagePlan
from cell_train.run_folder.paths import StageFiles
from cell_train.training.setup import prepare
from scripts.benchmarks.common import Result
from scripts.benchmarks.draws import draw, measured, planned, work

MOST_WORK = 1e11  # operations of a plan that is tried, some seconds
LEAST = 128 << 20  # bytes of a limit: in less, what Python itself takes is more than a trifle
TINY = ("lattice.dimensions=[8,8,8]", "dataset_limit=8")
LARGER = ("lattice.dimensions=[24,24,24]", "dataset_limit=8")
OBJECTIVES = ("objective=embedding", "objective=text")
OTHERS = 10  # stages drawn beside these, for what else is loaded when it is first used
PLENTY = 1 << 50  # bytes
MORE = 1.1  # limits, in which a larger micro-batch is looked for: its prediction may be too high
HEAP = {-1: 1 << 17, -2: 0, -3: 1 << 16}  # mallopt: trim threshold, top pad, mmap threshold


@dataclass(frozen=True)
class Tried:
    """A plan that was trained under its limit."""

    taken: int | None  # bytes at its peak; None where the limit was too little
    limit: int
    batch_limited: bool
    larger_runs: bool  # the next larger micro-batch, too, though the plan did not take it

    @property
    def unused(self) -> float:
        return 1 - (self.taken or self.limit) / self.limit


def fitting(count: int, seed: int) -> list[Result]:
    """Plans that say "fits": those that ran out of memory, and the share of it that they left
    unused where the next larger micro-batch would have run in it too."""
    dice, known, tried, replaced = random.Random(seed), _constants(), list[Tried](), 0
    while len(tried) < count:
        words = _drawn(dice)
        least, most = (_plan(words, budget, known).footprint.total for budget in (1, PLENTY))
        limit = round(least * (most / least) ** dice.uniform(0.05, 1.05))
        made = _plan(words, limit, known)
        if not made.fits or limit < LEAST or work(made) > MOST_WORK:
            replaced += 1
            continue
        tried.append(_tried(made, limit, _plan(words, round(MORE * limit), known)))
        _tell(len(tried), tried[-1], made, words)
    limited = [one.unused for one in tried if one.batch_limited]
    wasted = [one.unused for one in tried if one.larger_runs]
    parts = {"seed": seed, "count": count, "replaced": replaced, "larger_would_run": len(wasted)}
    parts |= {"batch_limited": len(limited), "unused_by_them": statistics.fmean(limited or [0.0])}
    constants = {"base_bytes": known.base_bytes, "allocator": known.allocator}
    return [
        Result("ran_out", sum(one.taken is None for one in tried), 0, "lower", constants),
        Result("unused_share", statistics.fmean(wasted or [0.0]), 0.1, "lower", parts),
    ]


def _plan(words: list[str], budget: int, known: Calibration) -> StagePlan:
    with mock.patch.object(calibration, "load", return_value=known):
        return planned(words, budget)


def _tried(made: StagePlan, limit: int, with_more: StagePlan) -> Tried:
    taken, batch = _taken(made, limit), made.execution.micro_batch
    limited = taken is not None and batch < made.stage.batch_size
    larger = limited and with_more.execution.micro_batch > batch
    return Tried(taken, limit, limited, larger and _taken(with_more, limit) is not None)


def _tell(number: int, one: Tried, made: StagePlan, words: list[str]) -> None:
    share = "RAN OUT" if one.taken is None else f"{one.taken / one.limit:.3f}"
    chosen = f"batch {made.execution.micro_batch}, segment {made.execution.segment}"
    told = f"{share} of {one.limit >> 20} MiB, {chosen}{' LARGER RUNS' * one.larger_runs}"
    print(f"{number:3d} {told}  {' '.join(words)}", file=sys.stderr, flush=True)


def _constants() -> Calibration:
    """What a fork of this process takes beside its tensors: a line through a tiny stage and a
    larger one, as `celltrain calibrate` draws it, raised above all others that are tried."""
    for option, value in HEAP.items():
        ctypes.CDLL(None).mallopt(option, value)
    torch.set_num_threads(1)
    tiny = [planned([*COMMON, *TINY, objective], PLENTY) for objective in OBJECTIVES]
    larger = planned([*COMMON, *LARGER], PLENTY)
    for one in tiny:
        _train(one)  # here, for what torch loads when it is first used
    ctypes.CDLL(None).malloc_trim(0)
    dice, others = random.Random("constants"), list[StagePlan]()
    while len(others) < OTHERS:
        made = planned(_drawn(dice), PLENTY)
        if work(made) <= MOST_WORK:
            others.append(made)
    (first, low), *rest = [_tensors_and_taken(one) for one in (tiny[0], larger, *tiny[1:], *others)]
    allocator = max(0.0, (rest[0][1] - low) / (rest[0][0] - first) - 1)
    base = max(taken - round((1 + allocator) * held) for held, taken in ((first, low), *rest))
    rates = dict(timing.shipped()["cpu"])
    return Calibration(base, allocator, rates, "a fork of this process")


def _drawn(dice: random.Random) -> list[str]:
    """A stage drawn at random whose plan may choose how its 16 samples are taken."""
    words = draw(dice)["words"]
    kept = [word for word in words if not word.startswith(("batch_size", "dataset_limit"))]
    return [*kept, "batch_size=16", "dataset_limit=16"]


def _tensors_and_taken(made: StagePlan) -> tuple[int, int]:
    """Bytes at the peak, of tensors and of all."""
    return measured(made, _chosen(made)), _taken(made, PLENTY) or 0


def _chosen(made: StagePlan) -> dict[str, Any]:
    """What of the plan is not in its stage."""
    execution = made.execution
    return {key: getattr(execution, key) for key in ("micro_batch", "segment", "precision")}


def _taken(made: StagePlan, limit: int) -> int | None:
    """Train in a fork that may take `limit` bytes; the most it took, None where that was too
    little."""
    answers, answer = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_limited, args=(made, limit, answer))
    child.start()
    answer.close()
    try:
        found: int | None = answers.recv()
    except EOFError:  # killed, as where not even an error could be raised
        found = None
    child.join()
    if child.exitcode:
        print(f"ended with {child.exitcode}", file=sys.stderr)
    return found


def _limited(made: StagePlan, limit: int, answer: Connection) -> None:
    before = _bytes("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (before + limit, resource.RLIM_INFINITY))
    try:
        _train(made)
    except Exception as error:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        answer.send(None)
    else:
        answer.send(_bytes("VmPeak") - before)


def _train(made: StagePlan) -> None:
    resolved = planning.resolved_stage(made)
    resolved.execution = replace(resolved.execution, threads=1)
    with tempfile.TemporaryDirectory(prefix="celltrain-bench-") as folder:
        prepare(resolved, StageFiles(Path(folder)), lambda *_, **__: None, lambda: False).run()


def _bytes(name: str) -> int:
    """A line of this process's own status."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024
