"""Ask whether what the rules do is there, beside what nothing would do; the last line is JSON.

    python scripts/ablate.py drift | nulls | recall [--seeds N] [--threads N]

drift  mean drift of pair and triplet STDP under independent Poisson trains, against the formulas
nulls  what the plastic update sees: data against other data and noise, offset and depth
recall what comes back of stored patterns, by load, damage and rule, against a Hopfield network
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

NAMES = (
    "drift",
    "nulls",
    "recall",
)  # each a module of scripts/ablations with a function of its name


def main() -> None:
    parser = argparse.ArgumentParser(description="Ablations and nulls; the last line is JSON.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seeds", type=int, default=3, help="independent repetitions")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    import torch

    from scripts.benches import common

    torch.set_num_threads(arguments.threads)
    ablation = getattr(
        importlib.import_module(f"scripts.ablations.{arguments.name}"), arguments.name
    )
    results = ablation(arguments.seeds)
    for result in results:
        shown = "-" if result.value is None else f"{result.value:.4g}"
        print(f"{result.name}: {shown} (target {result.target})  {dict(result.parts)}")
    print(common.report(arguments.name, results))


if __name__ == "__main__":
    main()
