"""Running one stage to its end, through what can be recovered from."""

import errno
import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path

from cell_train import events
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import (
    BY_NAME,
    CelltrainError,
    Hung,
    Killed,
    NotSaved,
    OutOfMemory,
    says_starved,
)
from cell_train.events import Event
from cell_train.events.kinds import Log, Retry
from cell_train.hardware import compiler
from cell_train.planning import plan as planning
from cell_train.planning.cost import history
from cell_train.run_folder import summary, tail
from cell_train.run_folder.paths import StageFiles
from cell_train.run_folder.summary import Row
from cell_train.run_folder.verdict import verdict
from cell_train.runner.session import Run, reason
from cell_train.runner.tracking.tensorboard import Board
from cell_train.storage import write_text
from cell_train.workers import launch, supervisor
from cell_train.workers.supervisor import Ending

MAX_RESTARTS = 1  # after the watchdog ended a silent worker
SHOWN = 200  # characters of a damaged event


class Stopped(Exception):
    """The run was interrupted or timed out."""


def run_stage(run: Run, row: Row, start: str | None) -> Row:
    """Run one stage to its end; returns its row.

    A rung down each time memory runs out, once more after silence. Raises Stopped, or the
    CelltrainError that the worker's end amounts to.
    """
    number = row["stage"]
    stage = run.files.stage(number)
    resolved = replace(run.resolved(number), start_from=start)
    row["status"] = "running"
    run.summarize("running")
    restarts = 0
    while True:
        _write_resolved(stage, resolved)
        run.stages[number] = resolved
        ending = _attempt(run, row, resolved)
        if ending.complete and ending.result is not None:
            done = summary.completed_row(row, ending.result)
            course = tail.course(stage.metrics, str(done["primary"]))
            done["verdict"] = verdict(resolved.stage.task, done, course)
            run.write(stage.result, json.dumps(done, indent=1) + "\n")
            history.remember(resolved.stage, resolved.execution, done["peak_bytes"])
            return done
        row["status"] = "failed"
        if run.interruption.signal is not None:
            row["status"] = "interrupted"
            raise Stopped
        if ending.out_of_memory:
            resolved = _rung_down(run, row, resolved)
        elif ending.hung and restarts < MAX_RESTARTS:
            restarts += 1
            row["restarts"] += 1
            message = f"{_silence(resolved)}; it is ended and resumed once"
            run.tell(number, Retry(level="warning", message=message))
        else:
            raise _failure(number, ending, stage, resolved)
        row["status"] = "running"
        run.summarize("running")  # what was given up is known also after a kill


def _write_resolved(stage: StageFiles, resolved: ResolvedStage) -> None:
    """Give the worker its file, if it is not there as it should be. Raises NotSaved."""
    text = resolve.write(resolved)
    if stage.resolved.read_text() == text:
        return
    try:
        write_text(stage.resolved, text)
    except OSError as error:
        raise NotSaved(
            f"{stage.resolved}: cannot be written ({reason(error)}), so that stage"
            f" {resolved.number} cannot begin; make room there and resume."
        ) from None


def _attempt(run: Run, row: Row, resolved: ResolvedStage) -> Ending:
    """Start a worker and stay with it; its `row` keeps the last scores.

    Raises NotSaved where its log cannot be opened.
    """
    number, variables = resolved.number, launch.settings(resolved.execution)
    stage = run.files.stage(number)
    shown = shlex.join(f"{key}={value}" for key, value in variables.items())
    run.tell(number, Log(level="info", message=f"worker environment: {shown}"))

    board = Board(stage.tensorboard, lambda message: run.warn(number, message))

    def take(event: Event) -> None:
        run.here()
        if not events.sound(event):
            run.warn(number, f"the worker sent a damaged event: {str(event)[:SHOWN]}")
            return
        known = {"stage_start": "inexact", "evaluation": "metrics"}.get(event["event"])
        if known in event:
            row[known] = event[known]
        if events.in_metrics(event):
            run.append(stage.metrics, events.flat(event))
        if events.on_board(event):
            board.take(event)
        run.emit(event)
        if event["event"] == "stage_start" and resolved.stage.lattice.backend == "auto":
            _tell_slow_path(run, resolved, str(event.get("backend", "")))

    before = stage.log.stat().st_size if stage.log.exists() else 0
    try:
        worker = launch.start(run.argv, stage.resolved, stage.log, variables)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise OutOfMemory(
                f"stage {number}: no worker can be started ({reason(error)}); resume when more"
                " memory is free."
            ) from None
        raise NotSaved(
            f"{stage.log}: no worker can be started ({reason(error)}); see to it and resume."
        ) from None
    silence = resolved.stage.training.watchdog + resolved.stage.monitor.log_every
    ending = supervisor.attend(worker, run.interruption, run.deadline, take, silence)
    if ending.code and ending.failure is None and says_starved(_said(stage.log, before)):
        return replace(ending, killed_for_memory=True)  # while Python or torch was loaded
    return ending


def _said(log: Path, before: int) -> str:
    """The end of what a worker wrote to its log, which held `before` bytes."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(before, log.stat().st_size - SHOWN * 4))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def _tell_slow_path(run: Run, resolved: ResolvedStage, backend: str) -> None:
    """Say once a run that its step is not compiled, where it could be."""
    name, _, reason = backend.removesuffix(")").partition(" (")
    if run.slow or not name.startswith("plain torch") or reason.startswith("lattice.rule"):
        return
    run.slow = True
    on_cpu = resolved.execution.device == "cpu"
    slow = compiler.refused(reason) if on_cpu else None
    said = str(slow) if slow else f"the step runs in plain torch, several times slower: {reason}"
    run.warn(resolved.stage.stage, said)


def _rung_down(run: Run, row: Row, resolved: ResolvedStage) -> ResolvedStage:
    """The same stage with less memory. Raises OutOfMemory at the ladder's end."""
    number = row["stage"]
    rung = planning.step_down(resolved.stage, resolved.execution)
    if rung is None:
        tried = f", after {', '.join(row['retries'])}" if row["retries"] else ""
        raise OutOfMemory(
            f"stage {number}: memory ran out and nothing is left to give up{tried}; resume when"
            " more of it is free, or make the lattice smaller."
        )
    execution, change = rung
    row["retries"].append(change)
    row["predicted_peak_bytes"] = execution.predicted_peak_bytes
    message = f"memory ran out; going on from the last checkpoint with {change}"
    run.tell(number, Retry(level="warning", message=message))
    return replace(resolved, execution=execution)


def _failure(
    number: int, ending: Ending, stage: StageFiles, resolved: ResolvedStage
) -> CelltrainError:
    """The error that a worker's end amounts to."""
    if ending.hung:
        return Hung(
            f"stage {number}: {_silence(resolved)}, also after it was resumed; {stage.log} says"
            " where it stood."
        )
    if ending.failure is not None:
        kind = BY_NAME.get(str(ending.failure.get("error")), CelltrainError)
        return kind(f"stage {number}: {ending.failure.get('message')}")
    if ending.stopped is not None:
        by = ending.stopped.get("signal")
        return Killed(f"stage {number}: the worker was stopped from outside by {by}.")
    if ending.code < 0:
        name = signal.Signals(-ending.code).name
        return Killed(f"stage {number}: the worker was killed by {name}.")
    if ending.code == 0:
        return CelltrainError(
            f"stage {number}: the worker ended without a result; see {stage.log}."
        )
    return CelltrainError(
        f"stage {number}: the worker ended with code {ending.code} and gave no reason;"
        f" see {stage.log}."
    )


def _silence(resolved: ResolvedStage) -> str:
    return f"the worker was alive but silent for {resolved.stage.training.watchdog:g} s"
