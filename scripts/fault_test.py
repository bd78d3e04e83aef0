"""Harm small runs in all the ways a shared machine knows, and say what became of them.

    python scripts/fault_test.py NAME... [--seed N] [--count N | --short] [--hours H]

The last line of each is {"fault": NAME, "tried": .., "survived": .., "failures": [..]} and what
else was found; the exit code is 1 when anything failed.
"""

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from faults import apart, ground
from faults.ground import Trials

COUNTS = {  # name -> how often, and how often in short: what the tests run
    "kill": (100, 2),
    "signals": (12, 1),
    "disk": (12, 1),
    "corrupt": (40, 1),
    "nan": (6, 2),
    "hang": (4, 1),
    "oom": (6, 1),
    "fuzz": (2000, 100),
    "streams": (14, 2),
    "suspend": (6, 1),
    "combinations": (100, 2),
    "soak": (1, 1),
    "cache": (20, 1),
    "places": (20, 2),
    "foreign": (20, 1),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", choices=COUNTS, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--hours", type=float, default=0.5, help="of soak")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_CACHE_HOME"] = apart.cache_of(Path(folder))
        text = ground.text_file(Path(folder))
        sound = [_inject(name, asked, text) for name in asked.names]
    return 0 if all(sound) else 1


def _inject(name: str, asked: argparse.Namespace, text: Path) -> bool:
    folder = text.with_name(name)
    folder.mkdir()
    count = asked.count or COUNTS[name][asked.short]
    fault = importlib.import_module(f"faults.{name}").fault
    score = fault(Trials(folder, text, random.Random(asked.seed), count, asked.hours))
    failed = min(len(score.failures), score.tried)
    record = {"fault": name, "tried": score.tried, "survived": score.tried - failed}
    record |= {"failures": score.failures, "seed": asked.seed, **score.notes}
    print(json.dumps(record), flush=True)
    return bool(score.tried and not score.failures)


if __name__ == "__main__":
    sys.exit(main())
