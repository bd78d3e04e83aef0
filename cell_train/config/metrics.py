"""The numbers a stage ends with, by which a gate may hold it: known before any is measured."""

from cell_train.config import task_specs
from cell_train.config.schema import Stage
from cell_train.config.yaml.suggestions import did_you_mean, nearest

OF_ANY = (  # of a row of summary.json
    *("loss", "samples", "seconds", "peak_bytes", "predicted_peak_bytes", "mean_abs_change"),
    *("clusters", "clusterings", "rollbacks", "restarts", "epochs", "connection_density"),
)
CONTROLS = ("bypass", "frozen")


def unknown(metric: str, stage: Stage) -> tuple[str, str] | None:
    """(what is wrong with a gate's metric, what was meant or there is), or None."""
    own = task_specs.of(stage.task).metrics
    if not own:  # nothing is known of another task
        return None
    controls = [f"{name}_{own[0]}" for name in CONTROLS] * stage.monitor.controls
    known = [*own, *controls, *OF_ANY]
    if metric in known:
        return None
    fix = did_you_mean(nearest(metric, known)) or f"there are {', '.join(known)}"
    return f"stage {stage.stage} measures no {metric!r}", fix
