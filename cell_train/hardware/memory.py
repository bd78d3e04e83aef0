"""The memory a process may take, the system's and what its cgroups allow, and what it has taken."""

import contextlib
import sys
from pathlib import Path


def available_bytes(root: Path = Path("/")) -> int:
    """Memory a new process may take: the system's, or what the cgroup still allows if less."""
    return max(0, min([system_memory(root)[1], *_cgroup_rooms(root)]))


def system_memory(root: Path = Path("/")) -> tuple[int, int]:
    """(total, available) bytes of the system."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return kib["MemTotal"] << 10, kib["MemAvailable"] << 10
    except (OSError, LookupError, ValueError):  # no Linux of the last ten years
        import psutil  # late: it takes longer to import than the rest of the probe

        memory = psutil.virtual_memory()
        return int(memory.total), int(memory.available)


def taken_bytes(root: Path = Path("/")) -> tuple[int, int]:
    """Anonymous and shared memory of this process: (now, at most so far).

    Without the pages of mapped files: of torch's libraries between 75 and 132 MiB are there by what
    the page cache holds, and the system may take them back. The most is what was resident at most
    less what is mapped of files now, and no less than what is taken now. Where the system does not
    tell them apart (not Linux), files are counted with the rest.
    """
    try:
        lines = (root / "proc/self/status").read_text().splitlines()
        counted = (line.split() for line in lines if line.endswith(" kB"))
        kib = {name.rstrip(":"): int(count) for name, count, _ in counted}
        now = kib["RssAnon"] + kib["RssShmem"]
        return now << 10, max(now, kib["VmHWM"] - kib["RssFile"]) << 10
    except (OSError, LookupError, ValueError):
        import resource

        import psutil

        unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return int(psutil.Process().memory_info().rss), most


def _cgroup_rooms(root: Path) -> list[int]:
    """Bytes still free in each cgroup above this process, v2 and v1."""
    v2 = ("memory.max", "memory.current", "inactive_file")
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    rooms = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        folder = base / path.lstrip("/")
        # inside a container the path may not exist, and its own group is mounted as the base
        for group in {base, folder, *(p for p in folder.parents if p.is_relative_to(base))}:
            room = _room(group, *(v1 if controllers else v2))
            if room is not None:
                rooms.append(room)
    return rooms


def _room(group: Path, limit: str, usage: str, cache: str) -> int | None:
    """What one cgroup allows beyond its use; page cache that can go counts as free."""
    try:
        allowed = int((group / limit).read_text())  # "max" is no number: no limit
    except (OSError, ValueError):
        return None
    used, spare = 0, 0  # where they cannot be read the limit itself is still one
    with contextlib.suppress(OSError, ValueError):
        used = int((group / usage).read_text())
        spare = _figure(group / "memory.stat", cache) or 0
    return allowed - used + spare


def oom_kills(root: Path = Path("/")) -> int | None:
    """How often the kernel has killed a process of this cgroup for memory; None where unknown.

    The machine's own count would take another's end for one's own.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        name = "memory.oom_control" if controllers else "memory.events"
        for group in (base / path.lstrip("/"), base):
            if (found := _figure(group / name, "oom_kill")) is not None:
                return found
    return None


def _figure(path: Path, name: str) -> int | None:
    """A number of a file that has one a line behind its name; None where it does not say."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
        return next((int(found[1]) for found in words if found[0] == name), None)
    except (OSError, ValueError, LookupError):
        return None
