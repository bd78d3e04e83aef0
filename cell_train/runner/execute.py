"""Running the stages of a run folder in order, from wherever it stands.

`execute` knows nothing but the folder: plan.json, each stage's resolved.yaml, and result.json
where a stage is complete. A new run and a resumed one are the same thing.
"""

import contextlib
import json
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cell_train import events, invocation, lived
from cell_train.config.schema import Stage
from cell_train.diagnostics import doctor
from cell_train.errors import (
    EXIT_TIMEOUT,
    CelltrainError,
    ConfigError,
    DataError,
    GateMissed,
    NotSaved,
)
from cell_train.events import View
from cell_train.events.kinds import Log
from cell_train.planning.plan_file import Record
from cell_train.run_folder import folder, inputs, summary
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import controls, crash_report, gates
from cell_train.runner.session import Run
from cell_train.runner.stage_runner import Stopped, run_stage
from cell_train.tasks import plan as tasks
from cell_train.workers import launch, supervisor
from cell_train.workers.supervisor import Interruption

TAIL = 15  # lines of the worker's log shown after a failure


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what to tell."""

    summary: dict[str, Any]
    exit_code: int
    message: str | None = None  # a sentence, log lines, the command that goes on


def check_data(stages: Iterable[Stage]) -> list[str]:
    """Notes on what the stages train on; raises DataError where they cannot."""
    wanted = {tasks.data_of(stage): stage for stage in stages}
    notes = [note for stage in wanted.values() for note in tasks.check(stage)]
    return list(dict.fromkeys(notes))


def execute(
    files: RunFiles,
    view: View,
    *,
    timeout: float | None = None,
    accept_changes: bool = False,
    moved: Mapping[str, str] | None = None,
    threads: int | None = None,
    argv: launch.Command = launch.command,
) -> Outcome:
    """Run what is left of a run; `moved` are new places of files of data by their keys, `threads`
    the number that workers compute with from now on.

    Raises ConfigError while another process runs it, and where a stage that is left would not go
    on with what it began with. summary.json is written at the start, after every stage and at
    the end.
    """
    folder.check_plain(files)
    plan = folder.read_plan(files)
    requirements = [gates.parse(text) for text in plan["require"]]
    deadline = None if timeout is None else lived.seconds() + timeout
    with folder.locked(files) as here, supervisor.interruptible() as interruption:
        folder.tidy(files)
        rows = [summary.planned_row(stage) for stage in plan["stages"]]
        run = Run(files, rows, view, argv, interruption, deadline, here)
        with _acknowledging(run):
            check = partial(_check_inputs, run, accept_changes, moved or {}, threads)
            return _carry_out(run, plan, requirements, check)


def _carry_out(
    run: Run,
    plan: Record,
    requirements: list[gates.Requirement],
    check: Callable[[], None],
) -> Outcome:
    """Run what is left once `check` has passed; how that ended."""
    try:
        run.write(run.files.environment, json.dumps(doctor.environment(), indent=1) + "\n")
        check()
        _run_all(run, plan["from"], requirements)
        if run.unsaved:
            raise NotSaved(_unsaved(run))
    except Stopped:
        return _stopped(run)
    except _Changed:
        raise
    except Exception as error:
        return _failed(run, error, plan)
    return Outcome(run.summarize("completed", 0), 0)


@contextlib.contextmanager
def _acknowledging(run: Run) -> Iterator[None]:
    """Say at once that a signal has come, whatever the run is doing meanwhile.

    A thread says it: the handler of a signal may have come amid the printing of something else.
    """
    came = run.interruption.came

    def say() -> None:
        if came.get() is None:
            return
        left = [row["stage"] for row in run.rows if row["status"] != "completed"]
        number = left[0] if left else run.rows[-1]["stage"]
        what = "its step is finished and saved first; once more ends it at once"
        run.view(events.stamped(Log(level="warning", message=f"stopping: {what}"), number))

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        came.put(None)
        thread.join()


class _Changed(ConfigError):
    """A stage would go on with something else than it began with."""


def _check_inputs(
    run: Run, accept_changes: bool, moved: Mapping[str, str], threads: int | None
) -> None:
    """Take the rows of complete stages; see that the others go on with what they began with."""
    found: dict[int, list[str]] = {}
    before = summary.rows(run.files, run.rows)
    for index, row in enumerate(run.rows):
        stage = run.files.stage(row["stage"])
        done = summary.read_result(stage, row)
        if done is None:
            summary.carry_on(row, before[index])
        if done is not None:
            run.rows[index] = done
        elif stage.result.exists():
            message = (
                "result.json or its checkpoint is gone or damaged; the stage is taken up again"
            )
            run.warn(row["stage"], message)
        if done is None:
            number, resolved = row["stage"], run.resolved(row["stage"])
            if moved:
                resolved = run.stages[number] = inputs.move(stage, resolved, moved)
            if threads is not None:
                resolved = run.stages[number] = inputs.use_threads(stage, resolved, threads)
            if gone := inputs.gone(stage, resolved.stage):
                raise _Changed(_moved_away(run, gone))
            if differences := inputs.changes(stage, resolved.stage):
                found[number] = differences
    if found and not accept_changes:
        said = "; ".join(part for differences in found.values() for part in differences)
        raise _Changed(
            f"{said}: not what the run began with. Undo it, or go on with --accept-changes (with"
            " resolved.yaml and data as they are now; stage files are read by new runs only)."
        )
    for number, differences in found.items():
        inputs.note(run.files.stage(number), run.resolved(number).stage, None)
        run.warn(number, f"goes on although changed: {'; '.join(differences)}")


def _run_all(run: Run, start: str | None, requirements: list[gates.Requirement]) -> None:
    for index, row in enumerate(run.rows):
        number = row["stage"]
        if row["status"] != "completed":
            if start is None and number > 1:
                run.warn(number, "there is no stage before it in this run; it starts fresh")
            _check_data(run, number)
            run.rows[index] = run_stage(run, row, start)
        controls.train(run, run.rows[index])
        start = run.rows[index]["checkpoint"]
        run.summarize("running")
        run.tell_row(run.rows[index])
        gate = run.resolved(number).stage.advance_if
        asked = [gates.Requirement(gate.metric, False, gate.min)] if gate else []
        for requirement in (*asked, *requirements):
            gates.check(requirement, run.rows[index])
        if run.interruption.signal is not None and index + 1 < len(run.rows):
            raise Stopped
    last = run.rows[-1]["stage"]
    for part in inputs.data_changes(run.files.stage(last), run.resolved(last).stage):
        run.warn(last, f"{part}; it was changed while the run trained on it")


def _check_data(run: Run, number: int) -> None:
    """See that a stage is trained on the text that the run began with. Raises DataError."""
    files, stage = run.files.stage(number), run.resolved(number).stage
    if gone := inputs.gone(files, stage):
        raise DataError(f"stage {number}: {_moved_away(run, gone)}")
    if found := inputs.data_changes(files, stage):
        raise DataError(
            f"stage {number}: {'; '.join(found)}. All stages of a run are of one text: put it back"
            " and resume, or resume with --accept-changes."
        )


def _moved_away(run: Run, gone: Mapping[str, str]) -> str:
    """What to do about files of data that are not where they were."""
    places = " ".join(f"{key}=NEW" for key in gone)
    command = f"{crash_report.resume_command(run.files)} {places}"
    return f"{', '.join(gone.values())}: is not there. If it has moved, say where it is: {command}"


def _stopped(run: Run) -> Outcome:
    why = "stopped at its time limit" if run.interruption.timed_out else "interrupted"
    kept = "what it has done is kept" if not run.unsaved else _unsaved(run)
    message = f"The run was {why}; {kept}.\n{_resume_line(run.files)}"
    code = _stop_code(run.interruption)
    return Outcome(run.summarize("interrupted", code), code, message)


def _stop_code(interruption: Interruption) -> int:
    """124 for the time limit, or as a shell tells signals: 129 (SIGHUP), 130, 143."""
    return EXIT_TIMEOUT if interruption.timed_out else 128 + (interruption.signal or 0)


def _failed(run: Run, error: Exception, plan: Record) -> Outcome:
    """The end of a run that failed: its capsule, and what to tell."""
    failed = next((row for row in run.rows if row["status"] in ("failed", "running")), None)
    number = None
    if failed is not None:
        failed["status"], number = "failed", failed["stage"]
    lines = [str(error)]
    code = error.exit_code if isinstance(error, CelltrainError) else 1
    if not isinstance(error, CelltrainError):
        lines = [f"celltrain itself failed: {type(error).__name__}: {error}"]
        run.warn(number or 0, "".join(traceback.format_exception(error)))
    tail = crash_report.log_tail(run.files.stage(number).log, TAIL) if number is not None else []
    if tail:
        lines += ["The last lines of its log:", *(f"  {line}" for line in tail)]
    said = plan.get("asked")
    words = [str(word) for word in said] if isinstance(said, list) else []
    if isinstance(error, GateMissed):
        last = next(row for row in reversed(run.rows) if row["status"] == "completed")
        following = ("--stages", f"{last['stage'] + 1}-")
        asked = gates.without(words, ("--from", "--stages", "--plan"))
        go_on = invocation.command("run", "--from", last["checkpoint"], *following, *asked)
        lines.append(f"To go on from it all the same: {go_on}")
    else:
        if crash_report.write(run.files, error, number, plan.get("budget")):
            lines.append(f"All about it: {run.files.crash}")
        lines.append(_resume_line(run.files))
    return Outcome(run.summarize("failed", code, str(error)), code, "\n".join(lines))


def _unsaved(run: Run) -> str:
    """Which files of the run are not complete, and why."""
    files = [f"{path.relative_to(run.files.folder)} ({why})" for path, why in run.unsaved.items()]
    return f"not all could be saved: {', '.join(files)}; make room in {run.files.folder} and resume"


def _resume_line(files: RunFiles) -> str:
    return f"To go on: {crash_report.resume_command(files)}"
