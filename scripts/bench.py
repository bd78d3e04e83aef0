"""Measure celltrain against its peers and its machine; the last line is JSON.

    python scripts/bench.py aggregate | step | roofline | isa | plain | memory | largest
                            | plasticity | overhead | startup | resident | play
                            [--rounds N] [--threads N]
    python scripts/bench.py data [--mib N] [--rounds N]
    python scripts/bench.py plan [--seed N] [--count N] [--fits N]

CAX and JAX (`pip install .[bench]`) are needed for `step`; where they are not, `isa` leaves them
out.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

BENCHES = {  # name: (module, function)
    "aggregate": ("aggregate", "aggregate"),
    "step": ("step", "step"),
    "roofline": ("step", "roofline"),
    "isa": ("isa", "isa"),
    "memory": ("memory", "memory"),
    "largest": ("largest", "largest"),
    "plasticity": ("training", "plasticity"),
    "overhead": ("training", "overhead"),
    "data": ("data", "data"),
    "plain": ("step", "plain"),
    "startup": ("startup", "startup"),
    "resident": ("resident", "resident"),
    "plan": ("plan", "plan"),
    "play": ("play", "play"),
}
# What a bench takes beside its rounds.
OPTIONS = {"plan": ("seed", "count", "fits"), "data": ("mib",)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure celltrain; the last line is JSON.")
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0, help="plan: of the draws")
    parser.add_argument("--count", type=int, default=40, help="plan: stages drawn")
    parser.add_argument("--fits", type=int, default=0, help="plan: rather so many that say fits")
    parser.add_argument("--mib", type=int, default=1024, help="data: size of the file indexed")
    arguments = parser.parse_args()

    from cell_train.workers.launch import ALLOCATOR, THREADING

    wanted = {**ALLOCATOR, **THREADING}  # what a worker runs under; read before Python starts
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})

    import torch

    from scripts.benchmarks import common

    torch.set_num_threads(arguments.threads)
    module, function = BENCHES[arguments.name]
    bench = getattr(importlib.import_module(f"scripts.benchmarks.{module}"), function)
    own = {name: getattr(arguments, name) for name in OPTIONS.get(arguments.name, ())}
    common.tell(arguments.name, bench(arguments.rounds, **own))


if __name__ == "__main__":
    main()
