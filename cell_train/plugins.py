"""A user's own code, which a stage may name as `package.module:Name`, and when it may run.

To import a module is to run it, and a stage file or a run folder may come from a stranger. Such a
name is followed only where the person who runs celltrain has vouched for it outside of both: with
the environment variable `CELLTRAIN_TRUST=my_package,another`, or by having installed a package that
lists this very name among its entry points:

    [project.entry-points."celltrain.cell_rules"]
    calm = "my_package.rules:Calm"
"""

import importlib
import os
import sys
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
    named = (part.strip() for part in os.environ.get(TRUST, "").split(","))
    return parts[0] in named or name in _installed(key)


def load(key: str, name: str) -> Any:
    """What `name` leads to. Raises ConfigError where that may not run, or is not there."""
    if not trusted(key, name):
        raise ConfigError(f"{key} must be {wanted(key)}, not {name!r}.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as for a worker, which `python -m` starts
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"{key}: {name!r} cannot be imported ({what}).") from error


def _installed(key: str) -> set[str]:
    from importlib import metadata  # late: it takes longer than the rest of this module

    return {point.value for point in metadata.entry_points(group=GROUPS[key])}
