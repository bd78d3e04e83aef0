"""The parts of gpu_check.py: python -m scripts.gpu_parts NAME [--dry]; the last line is JSON."""

import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cell_train.model.cell_rule import CellRule, RuleSize, RuleWeights
from cell_train.model.kernels import reference, select
from cell_train.model.lattice import Connections, Dimensions, wire

DRY = "--dry" in sys.argv
SLOWER = 5 if DRY else 1  # a machine that runs tests may be busy
CUDA = torch.device("cuda")
SIZES = (RuleSize(16, 32, 2), RuleSize(16, 32, 1), RuleSize(8, 16, 2), RuleSize(32, 64, 2))
REPEATS = 20
Case = tuple[Dimensions, int, float, bool]  # dimensions, samples, density, periodic
CASES: tuple[Case, ...] = (
    ((16, 16, 16), 32, 0.5, False),
    ((40, 40, 30), 32, 0.9, False),
    ((37, 5, 3), 33, 0.1, True),
    ((9, 6, 5), 1, 1.0, False),
    ((6, 6, 6), 3, 0.5, True),
)
if DRY:
    SIZES, REPEATS = SIZES[2:3], 2
    CASES = (((4, 4, 3), 2, 0.5, True),)


def environment() -> dict[str, Any]:
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    found["capability"] = list(torch.cuda.get_device_capability())
    if not DRY:
        import triton

        one = torch.cuda.get_device_properties(0)
        found |= {"triton": triton.__version__, "name": one.name, "bytes": one.total_memory}
        found |= {"multiprocessors": one.multi_processor_count, "copy": copy_bandwidth()}
    return found


def copy_bandwidth() -> float:
    """Bytes a second read and written, by copying a gigabyte."""
    a = torch.empty(1 << 28, device=CUDA)
    b = torch.empty_like(a)
    return 2 * a.nbytes / seconds(lambda: b.copy_(a))


def seconds(run: Callable[[], Any]) -> float:
    """Median of what `run` takes on the device."""
    if DRY:
        run()
        return 1e-3
    times = []
    for _ in range(3 + REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times[3:])


def fused(size: RuleSize) -> select.Kernels:
    return select.fused(size, CUDA)


def given(size: RuleSize, case: Case, dtype: torch.dtype) -> tuple[Connections, RuleWeights, Any]:
    """Connections, rule and (cells, gradient) of a case, on the CPU."""
    dimensions, batch, density, periodic = case
    here = wire(dimensions, density=density, strengths=(0.5, 1.5), seed=1, periodic=periodic)
    generator = torch.Generator().manual_seed(0)
    rule = [w.detach() for w in CellRule(size, generator).weights()]
    rule = [w + 0.1 * torch.randn(w.shape, generator=generator) for w in rule]
    cells = torch.randn(2, *dimensions, batch, size.channels, generator=generator)
    return here, RuleWeights(*rule), (cells[0].to(dtype), cells[1])


def run(kernels: Any, here: Connections, rule: RuleWeights, cells: Tensor, d: Tensor) -> list[Any]:
    activity = torch.zeros(here.cells, cells.shape[3], dtype=d.dtype, device=cells.device)
    following = kernels.forward(here, rule, cells, activity)
    d_cells, d_rule = kernels.backward(here, rule, cells, d)
    return [following, activity, d_cells, *d_rule]


def kernels() -> dict[str, Any]:
    """Each width and case against the definition in float64; the backward pass again and again."""
    rows = []
    for size, case, half in itertools.product(SIZES, CASES, (False, True)):
        dtype = torch.bfloat16 if half else torch.float32
        here, rule, (cells, d) = given(size, case, dtype)
        there = here.to(CUDA), RuleWeights(*(w.to(CUDA) for w in rule)), cells.to(CUDA), d.to(CUDA)
        step = fused(size)
        found = run(step, *there)
        double = (
            here.with_strength(here.strength.double()),
            RuleWeights(*(w.double() for w in rule)),
        )
        wanted = run(reference, *double, cells.double(), d.double())
        off = [
            float((a.double().cpu() - b).abs().max() / b.abs().max().clamp_min(1e-6))
            for a, b in zip(found, wanted, strict=True)
        ]
        again = [step.backward(*there) for _ in range(REPEATS if not half else 1)]
        same = all(
            torch.equal(a.cpu(), b.cpu())
            for d_cells, d_rule in again
            for a, b in zip((d_cells, *d_rule), found[2:], strict=True)
        )
        most = 1e-2 if half else 1e-4  # the cells that follow are rounded
        ok = off[0] < most and max(off[1:]) < (1e-3 if half else 1e-4) and same
        rows.append({"size": vars(size), "case": case, "half": half, "ok": ok, "same": same})
        rows[-1]["off"] = max(off)
    return {"ok": all(row["ok"] for row in rows), "rows": rows}


def times() -> dict[str, Any]:
    """Forward and backward of a tick beside what copying as many bytes takes."""
    size, case = RuleSize(16, 32, 2), ((16, 16, 16), 32, 0.5, False)
    if DRY:
        size, case = SIZES[0], CASES[0]
    rows = []
    for dimensions, half in itertools.product((case[0], (40, 40, 30)), (False, True)):
        if DRY:
            dimensions = case[0]
        dtype = torch.bfloat16 if half else torch.float32
        here, rule, (cells, d) = given(size, (dimensions, *case[1:]), dtype)
        here, cells, d = here.to(CUDA), cells.to(CUDA), d.to(CUDA)
        rule = RuleWeights(*(w.to(CUDA) for w in rule))
        activity, step = torch.zeros(here.cells, case[1], device=CUDA), fused(size)
        forward = seconds(lambda: step.forward(here, rule, cells, activity))  # noqa: B023
        backward = seconds(lambda: step.backward(here, rule, cells, d))  # noqa: B023
        bandwidth = 1e12 if DRY else copy_bandwidth()
        kept, full = cells.nbytes, d.nbytes
        least = 2 * kept / bandwidth, (2 * kept + (3 + 2 * size.kernels) * full) / bandwidth
        rows.append({"dimensions": dimensions, "half": half, "forward": forward})
        rows[-1] |= {"backward": backward, "share": (least[0] + least[1]) / (forward + backward)}
    return {"ok": True, "rows": rows}


def large() -> dict[str, Any]:
    """More numbers than a 32-bit index counts: the last cells are what they are in a small one."""
    size, side, batch = RuleSize(16, 32, 2), 128, 66
    if DRY:
        size, side, batch = SIZES[0], 8, 2
    need = 3 * side**3 * batch * size.channels * 2
    if not DRY and torch.cuda.mem_get_info()[0] < need:
        return {"ok": True, "skipped": f"{need >> 30} GiB are not there"}
    generator = torch.Generator().manual_seed(0)
    corner = torch.randn(6, 6, 6, batch, size.channels, generator=generator).bfloat16()
    here = wire((side,) * 3, density=1.0, strengths=(1.0, 1.0), seed=0)
    small = wire((6, 6, 6), density=1.0, strengths=(1.0, 1.0), seed=0)
    rule = RuleWeights(*(w.detach() for w in CellRule(size, generator).weights()))
    cells = torch.zeros(*here.dimensions, batch, size.channels, device=CUDA, dtype=torch.bfloat16)
    cells[-6:, -6:, -6:] = corner.to(CUDA)
    activity = torch.zeros(here.cells, batch, device=CUDA)
    on_gpu = RuleWeights(*(w.to(CUDA) for w in rule))
    found = fused(size).forward(here.to(CUDA), on_gpu, cells, activity)[-5:, -5:, -5:].cpu().float()
    wanted = reference.forward(small, rule, corner.float(), torch.zeros(small.cells, batch))
    off = float((found - wanted[-5:, -5:, -5:]).abs().max())
    return {"ok": off < 0.05, "numbers": cells.numel(), "off": off}


def celltrain(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cell_train", *words]
    if words[0] == "run":
        command += ["--device", "cpu" if DRY else "cuda"]
    toy = {"LATTICE__DIMENSIONS": "[4,4,4]", "LATTICE__CHANNELS": "6", "LATTICE__HIDDEN": "8"}
    toy |= {"LATTICE__BACKEND": "plain", "BATCH_SIZE": "16", "TEXT__EMBEDDING": "16"}
    environment = os.environ | ({f"CELLTRAIN_{k}": v for k, v in toy.items()} if DRY else {})
    environment = {k: v for k, v in environment.items() if not k.startswith("LD_")}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def waits() -> dict[str, Any]:
    """How often a step makes the host wait, as torch's own mode for that sees it."""
    from cell_train.training.trainer import Trainer
    from tests.training.conftest import small, start

    folder, seen, counts = Path(tempfile.mkdtemp()), Trainer.step, []

    def step(self: Trainer, samples: list[int]) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            seen(self, samples)
            torch.cuda.set_sync_debug_mode("default")
        counts.append(len(said))

    Trainer.step = step  # type: ignore[method-assign]
    if DRY:
        torch.cuda.set_sync_debug_mode = lambda _: None
    where = {"device": "cuda", "micro_batch": 16}
    stage = small(
        folder / "text.txt", execution=where, epochs=1, dataset_limit=48,
        lattice={"backend": "auto"}, data={"held_out": 4}, monitor={"evaluate": 4},
        plasticity={"enable_clustering": False, "emergence_config": {"morphology_tracking": False}},
    )  # fmt: skip
    (folder / "run").mkdir()
    start(stage, folder / "run")[0].run()
    return {"ok": counts[-1] <= 2, "waits": counts}


def plan() -> dict[str, Any]:
    """Stages 1, 5 and 6, and one that fills the card: predicted beside what torch reserved."""
    rows = []
    stages: tuple[tuple[str, ...], ...] = (("1",), ("5",), ("6",), ("5", "--profile", "fit"))
    for which, *more in stages[:1] if DRY else stages:
        with tempfile.TemporaryDirectory() as folder:
            words = ("epochs=1", "dataset_limit=64", "data.held_out=8", "monitor.evaluate=8")
            command = ("run", "--stages", which, *more, "--output", folder, *words)
            code = celltrain(*command).wait(110 * SLOWER)
            files = next(iter(Path(folder).iterdir()))
            summary = json.loads((files / "summary.json").read_text())
            planned = json.loads((files / "plan.json").read_text())["stages"][0]
        row = summary["stages"][0]
        share = row.get("peak_bytes", 0) / planned["predicted_peak_bytes"]
        rows.append({"stage": which, "more": more, "code": code, "measured ÷ predicted": share})
    return {"ok": all(row["code"] == 0 for row in rows), "rows": rows}


def stages() -> dict[str, Any]:
    """All five stages, short, growing from one to the next; how long a step of the last takes."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("epochs=1", "dataset_limit=96", "data.held_out=8", "monitor.evaluate=8")
        which = "1-2" if DRY else "1-5"
        code = celltrain("run", "--stages", which, "--output", folder, *words).wait(115 * SLOWER)
        files = next(iter(Path(folder).iterdir()))
        rows = json.loads((files / "summary.json").read_text())["stages"]
    done = [row["stage"] for row in rows if row["status"] == "completed"]
    return {"ok": code == 0 and len(done) == (2 if DRY else 5), "code": code, "completed": done}


def kill() -> dict[str, Any]:
    """SIGKILL within an epoch and `resume`: the same numbers as never having stopped."""
    words = ("epochs=1", "data.held_out=8", "monitor.evaluate=8", "monitor.log_every=0")
    words += ("training.checkpoint_every=1", "dataset_limit=" + ("64" if DRY else "960"))
    folder = Path(tempfile.mkdtemp())
    try:
        whole, cut = folder / "whole", folder / "cut"
        celltrain("run", "--stages", "3", "--output", str(whole), *words).wait(60 * SLOWER)
        running = celltrain("run", "--stages", "3", "--output", str(cut), *words)
        deadline = time.monotonic() + 60 * SLOWER
        while len(list(cut.glob("*/stage-3/checkpoints/*.json"))) < 2 and running.poll() is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
        running.wait()
        time.sleep(4)  # its worker ends with it
        code = celltrain("resume", str(next(iter(cut.iterdir())))).wait(60 * SLOWER)
        ends = [max(one.glob("*/stage-3/checkpoints/*.pt")) for one in (whole, cut)]
        saved = [torch.load(end, map_location="cpu", weights_only=True) for end in ends]
        same = all(
            torch.equal(a, b)
            for a, b in (
                (saved[0]["connections"]["strength"], saved[1]["connections"]["strength"]),
                *((saved[0]["rule"][k], saved[1]["rule"][k]) for k in saved[0]["rule"]),
            )
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"ok": code == 0 and same, "code": code, "same": same}


def memory() -> dict[str, Any]:
    """Running out of memory, provoked, is recognised as that."""
    from cell_train.training.construction.saved import starved

    if DRY:
        return {"ok": starved(RuntimeError("CUDA error: out of memory")), "said": []}
    said, known = [], []

    def fill() -> None:
        held = [torch.empty(1 << 30, dtype=torch.uint8, device=CUDA) for _ in range(1 << 10)]
        del held

    def multiply() -> None:
        torch.cuda.set_per_process_memory_fraction(0.02)
        a = torch.empty(1 << 14, 1 << 12, device=CUDA)
        torch.mm(a, a.t())

    for provoke in (fill, multiply):
        try:
            provoke()
        except Exception as error:  # which, is what is asked
            said.append(f"{type(error).__name__}: {error}".splitlines()[0])
            known.append(starved(error))
    return {"ok": bool(known) and all(known), "said": said}


if __name__ == "__main__":
    chosen = sys.argv[1]
    if DRY and os.environ.get("LD_PRELOAD"):
        from tests.support.fake_cuda import device

        device.install()
        with device.on_it():
            result = globals()[chosen]()
    else:
        result = globals()[chosen]()
    print(json.dumps({"ok": True} | result))
