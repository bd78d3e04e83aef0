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

from cell_train import limits
from cell_train.tasks.text.task import TextTask
from scripts.benchmarks.common import Result, in_subprocess

LINE = "sentence {} of a large file says what it says in some dozen words .\n"
BATCH = 32


def arm(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Index a file, or read it line by line as a baseline; seconds, and bytes the process grew."""
    from cell_train.data import corpus

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


def data(rounds: int, mib: int) -> list[Result]:
    """With a file of `mib` MiB."""
    with tempfile.TemporaryDirectory(prefix="celltrain-bench-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = Path(folder) / "large.txt"
        with path.open("w") as stream:
            written = count = 0
            while written < mib << 20:
                written += stream.write(LINE.format(count))
                count += 1
        lines, index, again = (
            in_subprocess("data", name, path=str(path)) for name in ("lines", "index", "index")
        )
        shares = _step_shares(Path(folder), min(rounds, 8))
    parts = {"file_bytes": written, "lines": lines, "index": index, "cached": again}
    return [
        Result("index_memory_share", index["bytes"] / written, 0.2, "lower", parts),
        Result("index_vs_reading_lines", index["seconds"] / lines["seconds"], None, "lower", {}),
        *shares,
    ]


def _step_shares(folder: Path, rounds: int) -> list[Result]:
    """Texts to tensors and to embeddings over the whole step: from memory, read anew, and with
    embeddings made elsewhere, from their file."""
    import numpy as np

    from cell_train.data import builtin
    from scripts.benchmarks.training import seconds, trainer

    path = folder / "sentences.txt"
    sentences = builtin.sentences(12_000, seed=0)
    path.write_text("\n".join(sentences))
    rows = folder / "sentences.npy"
    np.save(rows, np.random.default_rng(0).standard_normal((len(sentences), 256), np.float32))
    one = trainer(f"data.path={path}")
    elsewhere = ("text.encoder=precomputed", f"text.embeddings={rows}", "lattice.dimensions=4")
    given = trainer(f"data.path={path}", *elsewhere).state.model.task
    task, order, held = one.state.model.task, list(range(BATCH)), limits.TEXT_IDS_HELD

    def encode(limit: int, task: TextTask) -> None:
        limits.TEXT_IDS_HELD = limit
        task.bypass(next(task.batches("train", order, BATCH)))
        limits.TEXT_IDS_HELD = held

    arms = {
        "step": lambda: one.step(order),
        "held": lambda: encode(held, task),
        "read": lambda: encode(0, task),
        "precomputed": lambda: encode(held, given),
    }
    for run in arms.values():
        run()
    times = [{name: seconds(run) for name, run in arms.items()} for _ in range(rounds)]
    parts = {"lattice": list(one.state.model.network.connections.dimensions), "batch": BATCH}
    return [
        Result(
            f"text_share_{name}",
            statistics.median(row[name] / row["step"] for row in times),
            0.02,
            "lower",
            parts,
        )
        for name in ("held", "read", "precomputed")
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(arm(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
