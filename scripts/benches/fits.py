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
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from cell_train.planning import calibration, timing
from cell_train.planning import plan as planning
from cell_train.planning.calibration import Calibration
from cell_train.planning.plan import StagePlan
from cell_train.run.calibrate import COMMON
from cell_train.run_files import StageFiles
from cell_train.training.start import prepare
from scripts.benches.common import Result
from scripts.benches.draws import draw, measured, planned, work

LARGEST = (24, 24, 16)  # cells
MOST_WORK = 2e10  # operations of a plan that is tried, some seconds
LEAST = 32 << 20  # bytes of a limit: in less, what Python itself takes is more than a trifle
TINY = ("lattice.dimensions=[8,8,8]", "dataset_limit=8")
LARGER = ("lattice.dimensions=[16,16,12]", "dataset_limit=8")
OBJECTIVES = ("objective=embedding", "objective=text")
PLENTY = 1 << 50  # bytes
HEAP = {-1: 1 << 17, -2: 0, -3: 1 << 16}  # mallopt: trim threshold, top pad, mmap threshold


def fitting(count: int, seed: int) -> list[Result]:
    """Plans that say "fits": those that ran out of memory, and the share of it unused."""
    dice, ran_out, unused, replaced = random.Random(seed), 0, [], 0
    done = 0
    known = _constants()
    while done < count:
        one = draw(dice, LARGEST)["words"]
        words = [word for word in one if not word.startswith(("batch_size", "dataset_limit"))]
        words += ["batch_size=16", "dataset_limit=16"]
        with mock.patch.object(calibration, "load", return_value=known):
            most, least = (planned(words, budget).footprint.total for budget in (PLENTY, 1))
            limit = round(least * (most / least) ** dice.uniform(0.05, 1.05))
            made = planned(words, limit)
        if not made.fits or limit < LEAST or work(made) > MOST_WORK:
            replaced += 1
            continue
        taken = _taken(made, limit)
        done += 1
        ran_out += taken is None
        batch = made.execution.micro_batch
        if taken is not None and batch < made.stage.batch_size:
            unused.append(1 - taken / limit)
        share = "RAN OUT" if taken is None else f"{taken / limit:.3f}"
        told = f"{share} of {limit >> 20} MiB, batch {batch}, segment {made.execution.segment}"
        print(f"{done:3d} {told}  {' '.join(words)}", file=sys.stderr, flush=True)
    parts = {"seed": seed, "count": count, "replaced": replaced, "batch_limited": len(unused)}
    parts |= {"base_bytes": known.base_bytes, "allocator": known.allocator}
    parts["unused"] = [round(share, 3) for share in unused]
    mean = statistics.fmean(unused) if unused else None
    return [
        Result("ran_out", ran_out, 0, "lower", parts),
        Result("unused_share", mean, 0.1, "lower", {}),
    ]


def _constants() -> Calibration:
    """What a fork of this process takes beside its tensors: a line through a larger stage and
    the tiny one that takes most, as `celltrain calibrate` draws it."""
    for option, value in HEAP.items():
        ctypes.CDLL(None).mallopt(option, value)
    torch.set_num_threads(1)
    tiny = [planned([*COMMON, *TINY, objective], PLENTY) for objective in OBJECTIVES]
    larger = planned([*COMMON, *LARGER], PLENTY)
    for one in tiny:
        _train(one)  # here, for what torch loads when it is first used
    ctypes.CDLL(None).malloc_trim(0)
    *least, most = [
        (_taken(one, PLENTY) or 0) - measured(one, _chosen(one)) for one in (*tiny, larger)
    ]
    allocator = max(0.0, (most - max(least)) / larger.footprint.tensors)
    rates = dict(timing.shipped()["cpu"])
    return Calibration(max(least), allocator, rates, "a fork of this process")


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
