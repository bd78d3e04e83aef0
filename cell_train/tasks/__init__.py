"""What a stage trains on: data in, cells written, cells read, a loss and metrics.

Imported when it is asked for: a plan looks into this room without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cell_train.tasks.base import Batch as Batch
    from cell_train.tasks.base import Evaluation as Evaluation
    from cell_train.tasks.base import Task as Task
    from cell_train.tasks.base import TaskContext as TaskContext
    from cell_train.tasks.faces import Faces as Faces

_FROM = {
    **dict.fromkeys(("Batch", "Evaluation", "Task", "TaskContext"), "cell_train.tasks.base"),
    "Faces": "cell_train.tasks.faces",
}
__all__ = ["Batch", "Evaluation", "Faces", "Task", "TaskContext"]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
