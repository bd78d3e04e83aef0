"""What stages took when they ran here: the last measured peak of each configuration.

One small file in the user's cache. A configuration is all that memory depends on: what phases.py
counts with, the task, the precision, the device and the versions of celltrain and torch.
"""

import contextlib

from cell_train import cache
from cell_train._version import __version__
from cell_train.config.schema import Execution, Stage
from cell_train.planning.cost import sizes
from cell_train.planning.cost.calibration import torch_version

FILE = "peaks.json"
MOST = 500  # configurations remembered; the oldest go first


def measured(stage: Stage, execution: Execution) -> int | None:
    """Peak bytes of the last run of this configuration, None where there was none."""
    known = _read()
    peak = known.get(_key(stage, execution)) if known else None
    return peak if type(peak) is int and peak > 0 else None


def remember(stage: Stage, execution: Execution, peak_bytes: int) -> None:
    """Keep the peak of a stage that ran. A cache that cannot be written is not worth a failure.

    Of two runs that write at once the later file stays, whole; what it lacks comes back with the
    next run.
    """
    known, key = _read(), _key(stage, execution)
    known.pop(key, None)
    known[key] = peak_bytes
    kept = dict(list(known.items())[-MOST:])
    with contextlib.suppress(OSError):
        cache.keep_record(FILE, {"peaks": kept})


def _read() -> dict[str, object]:
    """What is known; a damaged file knows nothing."""
    peaks = (cache.read_record(FILE) or {}).get("peaks")
    return peaks if isinstance(peaks, dict) else {}


def _key(stage: Stage, execution: Execution) -> str:
    kind = execution.device.partition(":")[0]
    known = sizes.of(
        stage,
        micro_batch=execution.micro_batch,
        segment=execution.segment,
        precision=execution.precision,
        kind=kind,
    )
    import hashlib  # late: it brings OpenSSL, and only where something has run is it asked for

    parts = (known, stage.task, execution.precision, execution.device, __version__)
    return hashlib.sha256(repr((*parts, torch_version())).encode()).hexdigest()[:32]
