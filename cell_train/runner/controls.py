"""The controls of a run: its stages again without a lattice, and with one that stays random.

Each control is a small run of its own in RUN/controls/NAME, with the same steps on the same text;
its stages grow from one another. The main run neither waits for nor knows of what they learn.
"""

from dataclasses import replace

from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import CelltrainError
from cell_train.events.kinds import Log
from cell_train.run_folder import summary
from cell_train.run_folder.paths import RunFiles, StageFiles
from cell_train.run_folder.summary import Row
from cell_train.runner.session import Run
from cell_train.runner.stage_runner import run_stage
from cell_train.storage import write_text

CONTROLS = ("bypass", "frozen")  # values of monitor.control


def train(run: Run, row: Row) -> None:
    """Train a completed stage again as each control, where monitor.controls asks for it.

    Their scores join its metrics as bypass_bleu and frozen_bleu; a control that fails is missing.
    """
    resolved = run.resolved(row["stage"])
    if not resolved.stage.monitor.controls or resolved.stage.monitor.control != "none":
        return
    for control in CONTROLS:
        try:
            done = _train(run, row, resolved, control)
        except CelltrainError as error:
            run.warn(row["stage"], f"control {control} could not be trained: {error}")
            continue
        score = (done["metrics"] or {}).get(done["primary"])
        row["metrics"] = {**row["metrics"], f"{control}_{done['primary']}": score}


def _train(run: Run, row: Row, resolved: ResolvedStage, control: str) -> Row:
    """The control's row of this stage; one that is there already is taken as it is."""
    files = RunFiles(run.files.folder / "controls" / control)
    number = row["stage"]
    own: Row = {**row, "status": "pending", "retries": [], "restarts": 0, "inexact": []}
    done = summary.read_result(files.stage(number), own)
    if done is not None:
        return done
    run.tell(number, Log(level="note", message=f"trains its control {control}"))
    _prepare(files.stage(number), resolved, control)
    before = [one for one in run.rows if one["stage"] < number]
    last = summary.read_result(files.stage(before[-1]["stage"]), own) if before else None
    apart = replace(run, files=files, rows=[own], stages={}, view=lambda _: None)
    return run_stage(apart, own, last["checkpoint"] if last else None)


def _prepare(stage: StageFiles, resolved: ResolvedStage, control: str) -> None:
    monitor = replace(resolved.stage.monitor, control=control, controls=False)
    changed = replace(resolved, stage=replace(resolved.stage, monitor=monitor))
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_text(stage.resolved, resolve.write(changed))
