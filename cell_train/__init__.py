"""celltrain: train a 3D lattice of cells that wire themselves by local plasticity."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cell_train.training.trained import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`cell_train.load`, imported when it is asked for: torch comes with it."""
    if name == "load":
        from cell_train.training.trained import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
