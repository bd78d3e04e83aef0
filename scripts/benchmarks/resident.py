"""What whole workers take on a CPU, resident, against what the plan says they take at most.

Each stage is trained by a worker as in a run, only shorter: the five built-in ones as a machine
without a GPU runs them, and larger ones as `--profile fit` plans them.
"""

import sys

from cell_train.diagnostics.calibrate import train
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.workers.supervisor import Interruption
from scripts.benchmarks.common import Result

SHORT = ("epochs=2", "data.path=builtin", "monitor.log_every=0")
STORED = "optimization.mixed_precision.enabled"
BUILT_IN = [(str(number), "cpu", ("dataset_limit=64",)) for number in range(1, 6)]
LARGER = [
    (stage, "fit", (*words, "batch_size=8", "dataset_limit=16", "data.held_out=8"))
    for stage, *words in (
        ("1", "lattice.dimensions=[16,16,16]", f"{STORED}=false"),
        ("1", "lattice.dimensions=[16,16,16]", f"{STORED}=true"),
        ("1", "lattice.dimensions=[16,16,36]", f"{STORED}=false"),
        ("1", "lattice.dimensions=[16,16,36]", f"{STORED}=true"),
        ("1", "lattice.dimensions=[24,24,24]", f"{STORED}=false"),
        ("5", "lattice.dimensions=[16,16,16]", f"{STORED}=false"),
        ("5", "lattice.dimensions=[24,24,24]", f"{STORED}=true"),
    )
]


def resident(rounds: int) -> list[Result]:
    """Predicted over measured peak, less one; every stage once."""
    del rounds  # a worker takes its time
    errors = []
    for stage, profile, words in (*BUILT_IN, *LARGER):
        request = Request(stage, overrides=(*SHORT, *words), profile=profile, device="cpu")
        plan = make_plan(resolve_stages(load(request)))
        (one,) = plan.stages
        expected, found = one.footprint.total, train(one, Interruption()).peak_bytes
        errors.append(expected / found - 1)
        sizes = f"{one.footprint.tensors >> 20:4d} {expected >> 20:5d} {found >> 20:5d} MiB"
        told = f"{sizes} {errors[-1]:+.3f}  stage {stage}, {profile} {' '.join(words)}"
        print(told, file=sys.stderr, flush=True)
    parts = {"constants": plan.calibration, "errors": [round(error, 3) for error in errors]}
    return [
        Result("resident_worst_under", max(0.0, *(-error for error in errors)), 0, "lower", parts),
        Result("resident_worst_over", max(errors), None, "lower", {}),
    ]
