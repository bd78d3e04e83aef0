"""Running the stages of a run folder in order, from wherever it stands.

`execute` knows nothing but the folder: plan.json, each stage's resolved.yaml, and result.json
where a stage is complete. A new run and a resumed one are the same thing.
"""

import json
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from cell_train import run_files
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import (
    BY_NAME,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_TIMEOUT,
    CelltrainError,
    GateMissed,
    OutOfMemory,
)
from cell_train.events import Event
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan
from cell_train.run import attend, folder, gates, launch, summary
from cell_train.run.attend import Ending, Interruption
from cell_train.run.summary import Row
from cell_train.run_files import RunFiles, StageFiles

MAX_RETRIES = 3  # after running out of memory, each a rung further down
TAIL = 15  # lines of the worker's log shown after a failure

View = Callable[[Event], None]
METRIC_EVENTS = frozenset({"step", "evaluation", "clustering", "morphology"})


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what to tell."""

    summary: dict[str, Any]
    exit_code: int
    message: str | None = None  # a sentence, log lines, the command that goes on


class _Stopped(Exception):
    """The run was interrupted or timed out."""


@dataclass
class _Run:
    """One execution of a run folder."""

    files: RunFiles
    rows: list[Row]
    log: TextIO
    view: View
    argv: launch.Command
    interruption: Interruption
    deadline: float | None

    def emit(self, event: Event) -> None:
        """Keep an event in events.jsonl and show it."""
        self.log.write(json.dumps(event, ensure_ascii=False) + "\n")
        self.log.flush()
        self.view(event)

    def tell(self, kind: str, stage: int, **fields: Any) -> None:
        """Emit an event of the parent's own."""
        self.emit({"event": kind, "time": round(time.time(), 3), "stage": stage, **fields})


def check_data(plan: Plan) -> None:
    """Raise DataError when a text that a stage trains on cannot be trained on."""
    from cell_train.tasks.text import corpus  # reads text, imports no torch

    wanted = {
        (stage.stage.data.path, stage.stage.batch_size)
        for stage in plan.stages
        if stage.stage.task == "text" and stage.stage.data.path != "builtin"
    }
    for path, batch_size in sorted(wanted):
        corpus.check(path, batch_size)


def execute(
    files: RunFiles,
    view: View,
    *,
    timeout: float | None = None,
    argv: launch.Command = launch.command,
) -> Outcome:
    """Run what is left of a run. Raises ConfigError while another process runs it.

    summary.json is written at the start, after every stage and at the end.
    """
    plan = json.loads(files.plan.read_text())
    requirements = [gates.parse(text) for text in plan["require"]]
    deadline = None if timeout is None else time.monotonic() + timeout
    with (
        folder.locked(files),
        files.events.open("a", encoding="utf-8") as log,
        attend.interruptible() as interruption,
    ):
        rows = [summary.planned_row(stage) for stage in plan["stages"]]
        run = _Run(files, rows, log, view, argv, interruption, deadline)
        try:
            _run_all(run, plan["from"], requirements)
        except _Stopped:
            return _end(run, "interrupted", _stop_code(interruption), _stop_message(run))
        except CelltrainError as error:
            return _end(run, "failed", error.exit_code, _failure_message(run, error), str(error))
        return _end(run, "completed", 0)


def _run_all(run: _Run, start: str | None, requirements: list[gates.Requirement]) -> None:
    for index, row in enumerate(run.rows):
        number = row["stage"]
        stage = run.files.stage(number)
        done = folder.read_json(stage.result)
        if done is not None and done["checkpoint"] and Path(done["checkpoint"]).is_file():
            run.rows[index] = done
        else:
            if start is None and number > 1:
                message = f"stage {number} has no stage before it in this run; it starts fresh"
                run.tell("log", number, level="warning", message=message)
            run.rows[index] = _run_stage(run, row, start)
        start = run.rows[index]["checkpoint"]
        summary.save(run.files, summary.record(run.files, "running", run.rows))
        run.tell("stage_done", **run.rows[index])
        gate = resolve.read(stage.resolved).stage.advance_if
        asked = [gates.Requirement(gate.metric, False, gate.min)] if gate else []
        for requirement in (*asked, *requirements):
            gates.check(requirement, run.rows[index])
        if run.interruption.signal is not None and index + 1 < len(run.rows):
            raise _Stopped


def _run_stage(run: _Run, row: Row, start: str | None) -> Row:
    """Run one stage to its end, a rung down each time memory runs out; returns its row.

    Raises _Stopped, or the CelltrainError that the worker's end amounts to.
    """
    number = row["stage"]
    stage = run.files.stage(number)
    resolved = replace(resolve.read(stage.resolved), start_from=start)
    row["status"] = "running"
    summary.save(run.files, summary.record(run.files, "running", run.rows))
    while True:
        run_files.write_text(stage.resolved, resolve.write(resolved))
        ending = _attempt(run, stage, resolved)
        if ending.complete and ending.result is not None:
            done = summary.completed_row(row, ending.result)
            run_files.write_text(stage.result, json.dumps(done, indent=1) + "\n")
            return done
        row["status"] = "failed"
        if run.interruption.signal is not None:
            row["status"] = "interrupted"
            raise _Stopped
        if not ending.out_of_memory:
            raise _failure(number, ending, stage)
        resolved = _rung_down(run, row, resolved)


def _attempt(run: _Run, stage: StageFiles, resolved: ResolvedStage) -> Ending:
    """Start a worker and stay with it."""
    number, variables = resolved.stage.stage, launch.settings(resolved.execution)
    shown = shlex.join(f"{key}={value}" for key, value in variables.items())
    run.tell("log", number, level="info", message=f"worker environment: {shown}")
    with stage.metrics.open("a", encoding="utf-8") as metrics:

        def take(event: Event) -> None:
            if event["event"] in METRIC_EVENTS:
                metrics.write(json.dumps(flat(event), ensure_ascii=False) + "\n")
                metrics.flush()
            run.emit(event)

        worker = launch.start(run.argv, stage.resolved, stage.log, variables)
        return attend.attend(worker, run.interruption, run.deadline, take)


def _rung_down(run: _Run, row: Row, resolved: ResolvedStage) -> ResolvedStage:
    """The same stage with less memory. Raises OutOfMemory at the ladder's end."""
    number, tried = row["stage"], len(row["retries"])
    rung = planning.step_down(resolved.stage, resolved.execution)
    if rung is None or tried == MAX_RETRIES:
        raise OutOfMemory(
            f"stage {number}: memory ran out, also after {tried} retries with less;"
            " make the lattice or batch_size smaller."
        )
    execution, change = rung
    row["retries"].append(change)
    row["predicted_peak_bytes"] = execution.predicted_peak_bytes
    message = f"memory ran out; going on from the last checkpoint with {change}"
    run.tell("retry", number, level="warning", message=message)
    return replace(resolved, execution=execution)


def _failure(number: int, ending: Ending, stage: StageFiles) -> CelltrainError:
    """The error that a worker's end amounts to."""
    if ending.failure is not None:
        kind = BY_NAME.get(str(ending.failure.get("error")), CelltrainError)
        return kind(f"stage {number}: {ending.failure.get('message')}")
    if ending.stopped is not None:
        by = ending.stopped.get("signal")
        return CelltrainError(f"stage {number}: the worker was stopped from outside by {by}.")
    if ending.code < 0:
        name = signal.Signals(-ending.code).name
        return CelltrainError(f"stage {number}: the worker was killed by {name}.")
    if ending.code == 0:
        return CelltrainError(
            f"stage {number}: the worker ended without a result; see {stage.log}."
        )
    return CelltrainError(
        f"stage {number}: the worker ended with code {ending.code} and gave no reason;"
        f" see {stage.log}."
    )


def _end(
    run: _Run, status: str, code: int, message: str | None = None, error: str | None = None
) -> Outcome:
    record = summary.record(run.files, status, run.rows, error)
    summary.save(run.files, record)
    return Outcome(record, code, message)


def _stop_code(interruption: Interruption) -> int:
    if interruption.timed_out:
        return EXIT_TIMEOUT
    return EXIT_TERMINATED if interruption.signal == signal.SIGTERM else EXIT_INTERRUPTED


def _stop_message(run: _Run) -> str:
    why = "stopped at its time limit" if run.interruption.timed_out else "interrupted"
    return f"The run was {why}; what it has done is kept.\n{_resume_line(run.files)}"


def _failure_message(run: _Run, error: CelltrainError) -> str:
    failed = next((row for row in run.rows if row["status"] == "failed"), None)
    tail = log_tail(run.files.stage(failed["stage"]).log) if failed else []
    lines = [str(error)]
    if tail:
        lines += ["The last lines of its log:", *(f"  {line}" for line in tail)]
    if isinstance(error, GateMissed):
        last = next(row for row in reversed(run.rows) if row["status"] == "completed")
        go_on = (
            f"celltrain run --from {shlex.quote(last['checkpoint'])} --stages {last['stage'] + 1}-"
        )
        lines.append(f"To go on from it all the same: {go_on}")
    else:
        lines.append(_resume_line(run.files))
    return "\n".join(lines)


def _resume_line(files: RunFiles) -> str:
    return f"To go on: celltrain resume {shlex.quote(str(files.folder))}"


def log_tail(path: Path) -> list[str]:
    """The last lines of a worker's log."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            return stream.read().decode(errors="replace").splitlines()[-TAIL:]
    except OSError:
        return []


def flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as one flat object: metrics by their own names, lists of numbers one by one."""
    record: dict[str, Any] = {}
    for key, value in event.items():
        if key == "metrics" and isinstance(value, dict):
            record |= value
        elif isinstance(value, dict):
            record |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif isinstance(value, list):
            numbers = enumerate(value) if key != "samples" else ()
            record |= {f"{key}.{index}": inner for index, inner in numbers}
        else:
            record[key] = value
    return record
