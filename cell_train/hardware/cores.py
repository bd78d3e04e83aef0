"""The processor cores a process may keep busy: by affinity, and by the quota of its cgroups."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def allowed(root: Path = Path("/")) -> float:
    """Cores this process may keep busy; a quota may allow parts of one."""
    return min([float(by_affinity()), *_quotas(root)])


def by_affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def under_quota(root: Path = Path("/")) -> int | None:
    """Threads for a quota that allows fewer cores than there are to be seen; None without one.

    More threads than that spend the quota in waiting for one another.
    """
    cores = allowed(root)
    return max(1, int(cores)) if cores < by_affinity() else None


def load() -> float | None:
    """Threads that wanted a core, on average over the last minute; None where nobody counts."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on Windows
        return None


def _quotas(root: Path) -> Iterator[float]:
    """Cores each cgroup above this process allows, v2 and v1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    groups = {root / "sys/fs/cgroup", root / "sys/fs/cgroup/cpu"}
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / ("sys/fs/cgroup/cpu" if controllers else "sys/fs/cgroup")
        folder = base / path.lstrip("/")
        groups |= {folder, *(one for one in folder.parents if one.is_relative_to(base))}
    for group in groups:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # none, or "max"
            quota, period = (group / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            limit = int((group / "cpu.cfs_quota_us").read_text())
            if limit > 0:  # -1: none
                yield limit / int((group / "cpu.cfs_period_us").read_text())
