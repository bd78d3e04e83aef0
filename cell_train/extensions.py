"""A user's own code, which a stage may name as `package.module:Name`, and when it may run.

To import a module is to run it, and a stage file or a run folder may come from a stranger. Such a
name is followed only where the person who runs celltrain has vouched for it outside of both: with
the environment variable `CELLTRAIN_TRUST=my_package,another`, or by having installed a package that
lists this very name among its entry points:

    [project.entry-points."celltrain.cell_rules"]
    calm = "my_package.rules:Calm"
"""

import importlib
import importlib.metadata
import os
import sys
from typing import Any

from cell_train.errors import ConfigError

TRUST = "CELLTRAIN_TRUST"
GROUPS = {  # stage key -> the group of entry points that may stand there
    "task": "celltrain.tasks",
    "lattice.rule": "celltrain.cell_rules",
}


def refusal(key: str, name: str, *own: str) -> str | None:
    """What the value of a key must be instead, or None where its code may run.

    `own` are the values that celltrain has itself.
    """
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), attribute]
    if not colon or not all(part.isidentifier() for part in parts):
        return f"must be {' or '.join((*own, 'package.module:Name'))}"
    trusted = {part.strip() for part in os.environ.get(TRUST, "").split(",")}
    if parts[0] in trusted or name in _installed(key):
        return None
    return (
        f"must be code that you trust (set {TRUST}={parts[0]} in the environment, or install a"
        f" package that lists it under {GROUPS[key]})"
    )


def load(key: str, name: str) -> Any:
    """What `name` leads to. Raises ConfigError where that may not run, or is not there."""
    if wrong := refusal(key, name):
        raise ConfigError(f"{key} {wrong}, not {name!r}.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as for a worker, which `python -m` starts
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"{key}: {name!r} cannot be imported ({what}).") from error


def _installed(key: str) -> set[str]:
    return {point.value for point in importlib.metadata.entry_points(group=GROUPS[key])}
