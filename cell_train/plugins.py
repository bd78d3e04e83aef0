"""A user's own code, which a stage may name as `package.module:Name`, and when it may run.

To import a module is to run it, and a stage file or a run folder may come from a stranger. Such a
name is followed only where the person who runs celltrain has vouched for it outside of both: with
the environment variable `CELLTRAIN_TRUST=my_package,another`, or by having installed a package that
lists this very name among its entry points:

    [project.entry-points."celltrain.cell_rules"]
    calm = "my_package.rules:Calm"

Of the folder one is in, which is on no path of imports of ours, the packages that CELLTRAIN_TRUST
names can be imported, and nothing else.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from cell_train.errors import ConfigError

TRUST = "CELLTRAIN_TRUST"
GROUPS = {  # stage key -> the group of entry points that may stand there
    "task": "celltrain.tasks",
    "lattice.rule": "celltrain.cell_rules",
    "plasticity.plasticity_rule": "celltrain.plasticity_rules",
}


def wanted(key: str) -> str:
    """What a value of this key is where it names code, for a sentence about one that may not."""
    return (
        "package.module:Name from a package that you trust"
        f" ({TRUST}=package in the environment, or an entry point of {GROUPS[key]})"
    )


def trusted(key: str, name: str) -> bool:
    """Whether a value names code that may be imported."""
    module, _, attribute = name.partition(":")
    parts = [*module.split("."), attribute]
    if not all(part.isidentifier() for part in parts):
        return False
    return parts[0] in _vouched_for() or name in _installed(key)


def load(key: str, name: str) -> Any:
    """What `name` leads to. Raises ConfigError where that may not run, or is not there."""
    if not trusted(key, name):
        raise ConfigError(f"{key} must be {wanted(key)}, not {name!r}.")
    if not any(isinstance(finder, _OfThisFolder) for finder in sys.meta_path):
        sys.meta_path.append(_OfThisFolder())
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        beside = _not_vouched_for(error)
        hint = f"; to import it from this folder, add it: {TRUST}={beside}" if beside else ""
        raise ConfigError(f"{key}: {name!r} cannot be imported ({what}){hint}.") from error


class _OfThisFolder:
    """Finds in the folder one is in what is vouched for, after all other places were asked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname not in _vouched_for():
            return None
        return PathFinder.find_spec(fullname, [os.getcwd()])


def forget_this_folder() -> None:
    """Take the folder one is in off the path of imports, where an empty entry of PYTHONPATH
    (`:/my/code`) has put it unasked."""
    said, here = os.environ.get("PYTHONPATH", "").split(os.pathsep), os.getcwd()
    if "" in said and said != [""] and here not in said:
        sys.path[:] = [path for path in sys.path if path != here]


def _vouched_for() -> list[str]:
    return [part.strip() for part in os.environ.get(TRUST, "").split(",") if part.strip()]


def _not_vouched_for(error: Exception) -> str:
    """What CELLTRAIN_TRUST would have to be, where a module beside a trusted one is missing."""
    name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if not name or PathFinder.find_spec(name, [os.getcwd()]) is None:
        return ""
    return ",".join([*_vouched_for(), name])


def _installed(key: str) -> set[str]:
    """Names that installed packages vouch for."""
    from importlib import metadata  # late: it takes longer than the rest of this module

    found = metadata.distributions(path=[path for path in sys.path if path])
    points = (point for one in found for point in one.entry_points)
    return {point.value for point in points if point.group == GROUPS[key]}
