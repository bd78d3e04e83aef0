"""The memory there is to train in: NVML on a GPU, psutil and cgroups without one."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cell_train.errors import ConfigError

GIB = 1 << 30
CUDA_CONTEXT = 450 << 20  # bytes a worker's CUDA context takes; NVML's "free" still holds them


@dataclass(frozen=True)
class Budget:
    """Where stages run and how much memory they may take there."""

    kind: str  # cpu | cuda
    device: str  # cpu | cuda:<UUID>; cuda for a GPU that is only described
    available_gb: float | None  # GiB of GPU memory, which choose the profile; None on a CPU
    usable_bytes: int  # for the worker, its CUDA context taken off
    source: str  # how this is known
    bf16: bool = True


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance, as NVML shows it."""

    uuid: str
    name: str
    free_bytes: int
    bf16: bool


def described(gigabytes: float) -> Budget:
    """The budget of a GPU of so many GiB that need not be there; nothing is probed.

    Raises ConfigError unless the number is positive.
    """
    if not 0 < gigabytes < 1e6:
        raise ConfigError(f"--vram {gigabytes:g}: must be the GPU's memory in GiB, more than 0.")
    usable = max(0, int(gigabytes * GIB) - CUDA_CONTEXT)
    return Budget("cuda", "cuda", gigabytes, usable, f"--vram {gigabytes:g}")


def probe(
    device: str = "auto",
    environment: Mapping[str, str] = os.environ,
    nvml: Any = None,
    root: Path = Path("/"),
) -> Budget:
    """The budget of `device` (auto, cpu, cuda or cuda:N), as it is now.

    `nvml` stands in for the pynvml module and `root` for the file system. Raises ConfigError when
    a GPU is asked for and none is to be seen.
    """
    if device == "cpu":
        return _cpu("--device cpu", root)
    kind, _, index = device.partition(":")
    if device != "auto" and (kind != "cuda" or (":" in device and not index.isdigit())):
        raise ConfigError(f"--device {device}: is unknown; write auto, cpu, cuda or cuda:0.")
    found, reason = gpus(environment, nvml, root)
    if not found and device == "auto":
        return _cpu(reason, root)
    if not found:
        raise ConfigError(f"--device {device}: no GPU is to be seen ({reason}); use --device cpu.")
    if index and int(index) >= len(found):
        raise ConfigError(f"--device {device}: only {len(found)} GPUs are to be seen (from 0).")
    gpu = found[int(index)] if index else max(found, key=lambda one: one.free_bytes)
    among = f", most free of {len(found)}" if len(found) > 1 and not index else ""
    return Budget(
        kind="cuda",
        device=f"cuda:{gpu.uuid}",
        available_gb=gpu.free_bytes / GIB,
        usable_bytes=max(0, gpu.free_bytes - CUDA_CONTEXT),
        source=f"NVML: {gpu.name}{among}",
        bf16=gpu.bf16,
    )


def gpus(
    environment: Mapping[str, str], nvml: Any = None, root: Path = Path("/")
) -> tuple[list[Gpu], str]:
    """(the GPUs CUDA would show a child in this environment, why there are none)."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return [], "no GPU: the package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], f"no GPU: {error}"
    try:
        return _visible(nvml, environment.get("CUDA_VISIBLE_DEVICES"), root)
    except nvml.NVMLError as error:
        return [], f"no usable GPU: {error}"
    finally:
        nvml.nvmlShutdown()


def driver() -> str | None:
    """The version of NVIDIA's driver, or None where NVML does not say."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # no package, no library, no driver: `gpus` says which
        return None
    try:
        return _text(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _visible(nvml: Any, chosen: str | None, root: Path) -> tuple[list[Gpu], str]:
    """GPUs by CUDA_VISIBLE_DEVICES, whose first entry that names nothing ends the list.

    Indices count as nvidia-smi does (PCI order); what is handed to the worker is a UUID, so that
    it trains on the very GPU that was measured.
    """
    whole = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    cards = [_instances(nvml, handle, root) for handle in whole]
    if chosen is None:
        return [gpu for card in cards for gpu in card], "no GPU"
    found: list[Gpu] = []
    for entry in (part.strip() for part in chosen.split(",")):
        if entry.isdigit() and int(entry) < len(cards):
            match = cards[int(entry)][:1]  # of a partitioned card CUDA shows one instance
        elif entry.startswith(("GPU-", "MIG-")):
            match = [gpu for card in cards for gpu in card if gpu.uuid.startswith(entry)][:1]
        else:
            match = []
        if not match:
            break
        found += match
    return found, f"CUDA_VISIBLE_DEVICES={chosen!r} shows no GPU"


def _instances(nvml: Any, handle: Any, root: Path) -> list[Gpu]:
    """A card's MIG instances, or the card itself."""
    handles = []
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0]:
            for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                try:
                    handles.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
                except nvml.NVMLError:  # this slot holds no instance
                    continue
    except nvml.NVMLError:  # a card without MIG
        pass
    try:
        bf16 = nvml.nvmlDeviceGetCudaComputeCapability(handle)[0] >= 8
    except nvml.NVMLError:
        bf16 = False  # fp16 works on every card
    return [
        Gpu(
            uuid=_text(nvml.nvmlDeviceGetUUID(one)),
            name=_name(nvml, one),
            free_bytes=_free(nvml, one, root),
            bf16=bf16,
        )
        for one in handles or [handle]
    ]


def _free(nvml: Any, handle: Any, root: Path) -> int:
    """Free bytes; a board that shares the system's memory has no figure of its own."""
    try:
        version = nvml.nvmlMemory_v2  # v1 counts what the driver reserves as used
        return int(nvml.nvmlDeviceGetMemoryInfo(handle, version=version).free)
    except (nvml.NVMLError, AttributeError, TypeError):
        pass
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
    except nvml.NVMLError:
        return available_bytes(root)


def _name(nvml: Any, handle: Any) -> str:
    try:
        return _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return "GPU"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu(reason: str, root: Path) -> Budget:
    return Budget("cpu", "cpu", None, available_bytes(root), f"CPU memory ({reason})")


def available_bytes(root: Path = Path("/")) -> int:
    """Memory a new process may take: the system's, or what the cgroup still allows if less."""
    import psutil

    limits = [psutil.virtual_memory().available, *_cgroup_rooms(root)]
    return max(0, min(limits))


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
        _, controllers, path = line.split(":", 2)
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
        used = int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return allowed - used + int(stat.get(cache, 0))
    except (OSError, ValueError):
        return None
