"""Ask whether what the rules do is there, beside what nothing would do; the last line is JSON.

    python scripts/ablate.py drift | nulls | structures | growth | recall [--seeds N] [--threads N]
    python scripts/ablate.py text [--seeds N] [--results FILE] [--summary] [--figure SVG]
                                  [--against ARM]
    python scripts/ablate.py clusters RUN...

drift     mean drift of pair and triplet STDP under independent Poisson trains, against the formulas
nulls     what the plastic update sees: data against other data and noise, offset and depth
structures  how often the detector of periodic structure is right, where the answer is known
text      held-out BLEU, whole and damaged, with everything on and with one thing after another off
growth    what is left of the cosine right after growing, and the grown lattice against a new one
clusters  what the clusters of runs are worth, beside their nulls
recall    what comes back of stored patterns, by load, damage and rule, against a Hopfield network
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

# Each a module of scripts/ablations with a function of its name, and the options that this takes.
NAMES: dict[str, tuple[str, ...]] = {
    "drift": ("seeds",),
    "nulls": ("seeds",),
    "structures": ("seeds",),
    "text": ("seeds", "results", "summary", "figure", "against"),
    "growth": ("seeds",),
    "clusters": ("runs",),
    "recall": ("seeds",),
}
TEXT = Path("docs/measurements/ablation-text.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description="Ablations and nulls; the last line is JSON.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seeds", type=int, default=3, help="independent repetitions")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="clusters: run folders")
    parser.add_argument("--results", type=Path, default=TEXT, help="text: a JSON line a run")
    parser.add_argument("--summary", action="store_true", help="text: train nothing")
    parser.add_argument("--figure", type=Path, help="text: an SVG to draw")
    parser.add_argument(
        "--against", default="plasticity off", metavar="ARM", help="text: the others' base"
    )
    arguments = parser.parse_args()

    import torch

    from scripts.benchmarks import common

    torch.set_num_threads(arguments.threads)
    ablation = getattr(
        importlib.import_module(f"scripts.ablations.{arguments.name}"), arguments.name
    )
    options = {name: getattr(arguments, name) for name in NAMES[arguments.name]}
    common.tell(arguments.name, ablation(**options))


if __name__ == "__main__":
    main()
