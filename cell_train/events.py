"""What crosses the process border: one flat JSON object a line, from the worker to its parent.

Every event has `event`, `time` (Unix seconds) and `stage`; epochs count from 0. The others, by
kind:

    stage_start   dimensions cells connections parameters ticks epochs steps backend threads
                  started_from (checkpoint path or null) grown_from (dimensions or null) step
                  control (none, bypass or frozen) task (what the task tells of itself)
    step          epoch step steps loss cosine cells_per_second active change memory_bytes
                  seconds_left (at intervals; `active` is the share of cells that spiked)
    clustering    epoch clusters unassigned silhouette restart_agreement lag_agreement (adjusted
                  Rand index to the labels 5 epochs before) contiguity contiguity_chance
                  depth_information (1: the clusters are layers); at the last one of a stage also
                  jaccard and null {silhouette restart_agreement jaccard} on smooth noise
    morphology    epoch tested p_value wavevector amplified reason
    emergence     epoch seconds variation bimodality at_bounds (of the strengths); lesion (share of
                  the cells silenced) undamaged damaged {metric: value} on the same samples; of the
                  lattice without input: free_ticks activity activity_left branching_ratio psi
                  psi_null psi_p_value
    evaluation    epoch step metrics samples [[source, target, output], ...]
    strengths     epoch step low high mean spread counts (at the start, with each evaluation)
    spectrum      epoch step tested reason p_value wavevector of the mean-strength field as the
                  stage leaves it; by shell: wavelength modes power null_low null_high tail
    checkpoint    epoch step path seconds bytes
    log           level message
    alive         nothing more; in long evaluations and steps, for the watchdog, kept nowhere
    stage_end     the stage's row of summary.json
    interrupted   signal checkpoint
    failed        error (a name from errors.BY_NAME) message

The parent adds events of its own to events.jsonl and `--json`:

    log, retry    level message
    stage_done    the completed stage's row of summary.json
"""

import json
import time
from collections.abc import Callable
from typing import Any, TextIO

Event = dict[str, Any]
View = Callable[[Event], None]
"""What is told every event: a display, a log, nothing."""


def write(stream: TextIO, kind: str, stage: int, **fields: Any) -> None:
    """Write one event and flush it, so that a reader never waits for a buffer."""
    record = {"event": kind, "time": round(time.time(), 3), "stage": stage, **fields}
    stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    stream.flush()


def parse(line: str) -> Event | None:
    """One event, or None for a line that is none (a worker killed in the middle of a write)."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "event" in record else None
