"""celltrain: train a 3D lattice of cells that wire themselves by local plasticity.

docs/api.md tells what is public. Everything is imported when it is asked for: `import cell_train`
is light, `plan` and `run` need no torch in this process, `load` brings it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cell_train._version import __version__ as __version__

if TYPE_CHECKING:
    from cell_train.api import RunResult as RunResult
    from cell_train.api import load as load
    from cell_train.api import plan as plan
    from cell_train.api import run as run
    from cell_train.training.trained_model import TrainedModel as TrainedModel

_FROM = {
    "RunResult": "cell_train.api",
    "TrainedModel": "cell_train.training.trained_model",
    "load": "cell_train.api",
    "plan": "cell_train.api",
    "run": "cell_train.api",
}
__all__ = ["RunResult", "TrainedModel", "__version__", "load", "plan", "run"]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
