"""What a run's clusters are worth, each figure beside what cells without structure give.

Read from run folders, at the last clustering of every stage; medians and ranges over runs. The null
of silhouette, restart agreement and Jaccard is the same clustering of noise that is smooth in
space; that of contiguity are labels permuted over the cells. The lag agreement has none of its own:
noise drawn anew has nothing to agree with. Beside them what the free lattice does, as a stage ends.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cell_train.storage import read_json
from scripts.benchmarks.common import Result

TARGETS = {"silhouette": 0.5, "lag_agreement": 0.8, "jaccard": 0.75}
FIGURES = (
    "clusters",
    "unassigned",
    "silhouette",
    "restart_agreement",
    "lag_agreement",
    "jaccard",
    "contiguity",
    "depth_information",
    "branching_ratio",
    "psi",
)


def clusters(runs: Sequence[Path]) -> list[Result]:
    """A result a stage and figure."""
    seen: dict[tuple[int, str], list[float]] = defaultdict(list)
    nulls: dict[tuple[int, str], list[float]] = defaultdict(list)
    for run in runs:
        for path in sorted(run.glob("stage-*/result.json")):
            row = read_json(path) or {}
            for name, value, null in _figures(row):
                seen[row["stage"], name].append(value)
                if null is not None:
                    nulls[row["stage"], name].append(null)
    results = []
    for (stage, name), values in seen.items():
        parts: dict[str, float] = {"min": min(values), "max": max(values), "runs": len(values)}
        if null := nulls[stage, name]:
            parts["null"] = statistics.median(null)
        rounded = {key: round(value, 3) for key, value in parts.items()}
        value, target = statistics.median(values), TARGETS.get(name)
        results.append(Result(f"stage {stage} {name}", value, target, "higher", rounded))
    return results


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """A stage's figures: name, value, and what stands for nothing."""
    clustering, emergence = row.get("clustering") or {}, row.get("emergence") or {}
    nulls = {
        **(clustering.get("null") or {}),
        "contiguity": clustering.get("contiguity_chance"),
        "psi": emergence.get("psi_null"),
    }
    for name, value in {**clustering, **emergence}.items():
        if name in FIGURES and value is not None:
            yield name, value, nulls.get(name)
