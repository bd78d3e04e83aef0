"""Which torch is installed, read from its files: loading it would take seconds."""

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from cell_train.errors import ConfigError
from cell_train.hardware.probe import Budget

CURE = "install a torch with CUDA (https://pytorch.org/get-started), or add --device cpu"


@dataclass(frozen=True)
class Build:
    """A torch; what its files do not say is None."""

    version: str | None
    cuda: str | None  # the CUDA it is built for; "" where it is for CPUs


def find() -> Build | None:
    """The torch that a worker would load; None where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        tree = ast.parse(Path(spec.origin).with_name("version.py").read_bytes())
    except (OSError, SyntaxError, ValueError):  # it is of a kind of its own
        return Build(None, None)
    said: dict[str, str | None] = {}
    for line in tree.body:
        names = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        if isinstance(value, ast.Constant) and isinstance(value.value, str | None):
            said |= {name.id: value.value for name in names if isinstance(name, ast.Name)}
    version, cuda, hip = (said.get(name) for name in ("__version__", "cuda", "hip"))
    known = "cuda" in said and not hip  # ROCm's torch answers to the same names
    return Build(version, (cuda or "") if known else None)


def require(budget: Budget, build: Build | None) -> None:
    """Raise ConfigError where no worker could train on the device of `budget` with this torch."""
    if build is None:
        raise ConfigError("torch is not installed, without which nothing trains: pip install torch")
    if budget.kind == "cuda" and build.cuda == "":
        shown = f"NVML shows {budget.source.removeprefix('NVML: ')}"
        raise ConfigError(f"{shown}, but torch {build.version} is for CPUs; {CURE}.")
