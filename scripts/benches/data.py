"""What text costs: memory and time to index a large file, and a batch's share of a step."""

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.benches.common import Result, in_subprocess

SIZE = 1 << 30  # bytes of the file that is indexed
LINE = "sentence {} of a large file says what it says in some dozen words .\n"
BATCH = 32


def arm(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Index a file, or read it line by line as a baseline; seconds, and bytes the process grew."""
    from cell_train.tasks.text import corpus

    corpus.load("builtin:pairs")  # what any use of the corpus takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    if name == "index":
        loaded = corpus.load(options["path"])
        texts = len(loaded.train) + len(loaded.held_out)
    else:
        with open(options["path"], "rb") as stream:
            texts = sum(1 for _ in stream)
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": seconds, "bytes": grown, "texts": texts}


def data(rounds: int) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="celltrain-bench-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = Path(folder) / "large.txt"
        with path.open("w") as stream:
            written = count = 0
            while written < SIZE:
                written += stream.write(LINE.format(count))
                count += 1
        lines, index, again = (
            in_subprocess("data", name, path=str(path)) for name in ("lines", "index", "index")
        )
    parts = {"file_bytes": written, "lines": lines, "index": index, "cached": again}
    return [
        Result("index_memory_share", index["bytes"] / written, 1.0, "lower", parts),
        Result("index_vs_reading_lines", index["seconds"] / lines["seconds"], None, "lower", {}),
        *_step_shares(min(rounds, 8)),
    ]


def _step_shares(rounds: int) -> list[Result]:
    """Texts to tensors and to embeddings, held in memory and read anew, over the whole step."""
    from cell_train.tasks.text import feed
    from scripts.benches.training import seconds, trainer

    one = trainer()
    task, order = one.machine.task, list(range(BATCH))
    one._step(order)
    arms = {
        "step": lambda: one._step(order),
        "held": lambda: task.bypass(next(task.batches("train", order, BATCH))),
        "read": lambda: task.bypass(next(task.batches("train", order, BATCH))),
    }
    times: dict[str, list[float]] = {name: [] for name in arms}
    held = feed.HELD
    for _ in range(rounds):
        for name, run in arms.items():
            feed.HELD = 0 if name == "read" else held
            times[name].append(seconds(run))
    feed.HELD = held
    step = statistics.median(times["step"])
    parts = {"lattice": list(one.machine.network.connections.dimensions), "batch": BATCH}
    return [
        Result(f"text_share_{name}", statistics.median(times[name]) / step, 0.02, "lower", parts)
        for name in ("held", "read")
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(arm(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
