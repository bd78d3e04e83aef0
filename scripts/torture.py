"""Harm small runs in all the ways a shared machine knows, and say what became of them.

    python scripts/torture.py NAME [--seed N] [--count N] [--hours H]

The last line is {"torture": NAME, "tried": .., "survived": .., "failures": [..]} and what else
was found; the exit code is 1 when anything failed.
"""

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from tortures import cache
from tortures.ground import Torture

COUNTS = {  # name -> how often, unless --count says otherwise
    "kill": 100,
    "signals": 12,
    "disk": 12,
    "corrupt": 40,
    "nan": 6,
    "hang": 3,
    "oom": 6,
    "fuzz": 2000,
    "soak": 1,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=COUNTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--hours", type=float, default=0.5, help="of soak")
    asked = parser.parse_args()
    torture = importlib.import_module(f"tortures.{asked.name}").torture
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as folder:
        trials = Path(folder, "trials")
        trials.mkdir()
        os.environ["XDG_CACHE_HOME"] = cache.apart(Path(folder))
        count = asked.count or COUNTS[asked.name]
        score = torture(Torture(trials, random.Random(asked.seed), count, asked.hours))
    failed = min(len(score.failures), score.tried)
    record = {"torture": asked.name, "tried": score.tried, "survived": score.tried - failed}
    print(json.dumps({**record, "failures": score.failures, "seed": asked.seed, **score.notes}))
    return 1 if score.failures or not score.tried else 0


if __name__ == "__main__":
    sys.exit(main())
