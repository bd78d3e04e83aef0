"""Runs side by side: where their configurations differ, and what each stage came to."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cell_train.config import resolve
from cell_train.planning.staleness import flat
from cell_train.run_folder import folder, summary
from cell_train.run_folder.paths import RunFiles

DERIVED = frozenset(("execution.budget_bytes", "execution.predicted_peak_bytes"))
RESULTS = ("status", "loss", "clusters", "mean_abs_change", "samples", "peak_bytes", "seconds")


def compare(runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Keys that differ and all results, values in the order of `runs`; null where a run has none.

    Raises ConfigError where a run's plan or a stage's resolved.yaml is damaged.
    """
    plans = [folder.read_plan(files) for files in runs]
    said = [summary.read(files, plan) for files, plan in zip(runs, plans, strict=True)]
    rows = [{row["stage"]: row for row in one["stages"]} for one in said]
    configuration, results = [], []
    for number in sorted({number for one in rows for number in one}):
        has = [number in one for one in rows]
        settings = [
            _settings(files, number) if there else {}
            for files, there in zip(runs, has, strict=True)
        ]
        present = [one for one in settings if one]
        for key in {key: None for one in present for key in one}:
            if any(one.get(key) != present[0].get(key) for one in present):
                values = [one.get(key) for one in settings]
                configuration.append({"stage": number, "key": key, "values": values})
        told = [_results(one.get(number)) for one in rows]
        for name in {name: None for one in told for name in one}:
            values = [one.get(name) for one in told]
            if any(value is not None for value in values):
                results.append({"stage": number, "metric": name, "values": values})
    names = [
        {"run": files.folder.name, "run_dir": one["run_dir"], "status": one["status"]}
        for files, one in zip(runs, said, strict=True)
    ]
    return {"runs": names, "configuration": configuration, "metrics": results}


def _settings(files: RunFiles, number: int) -> dict[str, Any]:
    """All keys of a stage and of its execution."""
    resolved = resolve.read(files.stage(number).resolved)
    tree = {"version": resolved.version, **asdict(resolved.stage)}
    found = dict(flat(tree | {"execution": asdict(resolved.execution)}))
    return {key: value for key, value in found.items() if key not in DERIVED}


def _results(row: summary.Row | None) -> dict[str, Any]:
    if row is None:
        return {}
    status, *others = RESULTS
    return {status: row[status], **(row["metrics"] or {}), **{name: row[name] for name in others}}
