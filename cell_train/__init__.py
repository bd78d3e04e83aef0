"""celltrain: train a 3D lattice of cells that wire themselves by local plasticity."""

from typing import TYPE_CHECKING, Any

from cell_train._version import __version__ as __version__

if TYPE_CHECKING:
    from cell_train.training.trained_model import load as load


def __getattr__(name: str) -> Any:
    """`cell_train.load`, imported when it is asked for: torch comes with it."""
    if name == "load":
        from cell_train.training.trained_model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
