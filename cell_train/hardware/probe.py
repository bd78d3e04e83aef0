"""The memory there is to train in: NVML on a GPU, the system's without one."""

import contextlib
import ctypes
import importlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train.errors import ConfigError
from cell_train.hardware.memory import available_bytes, system_memory

GIB = 1 << 30
NOT_SUPPORTED = 3  # NVML_ERROR_NOT_SUPPORTED
UUIDS = ("GPU-", "MIG-")  # what they begin with
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
    total_bytes: int | None = None  # of the device; None for one that is only described
    free_bytes: int | None = None  # what of it is free now
    failure: str | None = None  # why a GPU that is there is not taken
    gpu: str = ""  # its name, where there is one
    capability: tuple[int, int] | None = None  # of the GPU to compute, as CUDA counts it


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance, as NVML shows it."""

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    bf16: bool
    shared: bool = False  # its memory is the system's
    capability: tuple[int, int] | None = None


_SIZE = re.compile(
    r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?)\s*(?:g|gb|gib|(m|mb|mib)|(t|tb|tib))?\s*", re.I
)


def gigabytes(text: str) -> float:
    """GiB of 12, 12gb, 12GB, 24 GiB or 24576MiB: GPU makers write GB and mean GiB.

    Raises ConfigError for anything else, and for no memory at all.
    """
    match = _SIZE.fullmatch(text)
    size = float(match[1]) / (1024 if match[2] else 1) * (1024 if match[3] else 1) if match else 0.0
    if not 0 < size < 1e6:
        raise ConfigError(
            f"--vram {text}: must be the GPU's memory, more than 0: write 12, 12gb or 24GiB."
        )
    return size


ABSENT = ("no GPU: NVIDIA's driver is not installed", "no GPU")


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
    """The budget of `device` (auto, cpu, cuda, cuda:N or cuda:UUID), as it is now.

    `nvml` stands in for the pynvml module and `root` for the file system. Raises ConfigError when
    a GPU is asked for and none is to be seen.
    """
    if device == "cpu":
        return _cpu("--device cpu", root)
    kind, _, name = device.partition(":")
    known = kind == "cuda" and (name.isdecimal() or name.startswith(UUIDS) or ":" not in device)
    if device != "auto" and not known:
        raise ConfigError(f"--device {device}: is unknown; write auto, cpu, cuda or cuda:0.")
    found, reason = gpus(environment, nvml, root)
    if not found and device == "auto":
        lost = reason not in ABSENT and not reason.startswith("CUDA_VISIBLE_DEVICES")
        return replace(_cpu(reason, root), failure=reason if lost else None)
    if not found:
        raise ConfigError(f"--device {device}: no GPU is to be seen ({reason}); use --device cpu.")
    gpu = _named(name, found) if name else max(found, key=lambda one: one.free_bytes)
    among = f", most free of {len(found)}" if len(found) > 1 and not name else ""
    shared = ", memory shared with the system" if gpu.shared else ""
    return Budget(
        kind="cuda",
        device=f"cuda:{gpu.uuid}",
        available_gb=gpu.free_bytes / GIB,
        usable_bytes=max(0, gpu.free_bytes - CUDA_CONTEXT),
        source=f"NVML: {gpu.name}{among}{shared}",
        bf16=gpu.bf16,
        total_bytes=gpu.total_bytes,
        free_bytes=gpu.free_bytes,
        gpu=gpu.name,
        capability=gpu.capability,
    )


def _named(name: str, found: list[Gpu]) -> Gpu:
    """The visible GPU of an index, or of a UUID whose beginning will do."""
    if name.isdecimal() and int(name) >= len(found):
        raise ConfigError(f"--device cuda:{name}: only {len(found)} GPUs are to be seen (from 0).")
    match = [found[int(name)]] if name.isdecimal() else _matching(name, found)
    if not match:
        seen = ", ".join(gpu.uuid for gpu in found)
        raise ConfigError(f"--device cuda:{name}: names none of the GPUs to be seen ({seen}).")
    return match[0]


def _matching(entry: str, gpus: list[Gpu]) -> list[Gpu]:
    """The one GPU that a whole or abbreviated UUID names; none where it could be several."""
    whole = [gpu for gpu in gpus if gpu.uuid == entry]
    match = whole or [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    return match if len(match) == 1 else []


def gpus(
    environment: Mapping[str, str], nvml: Any = None, root: Path = Path("/")
) -> tuple[list[Gpu], str]:
    """(the GPUs CUDA would show a child in this environment, why there are none)."""
    if nvml is None:
        if not _driver_is_there():
            return [], ABSENT[0]
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
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _driver_is_there() -> bool:
    """Whether NVML can be loaded, without its bindings, whose import takes longer than a plan."""
    if sys.platform != "linux":
        return True  # they know where to look
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


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
    lost: list[str] = []
    cards = [_card(nvml, i, root, lost) for i in range(nvml.nvmlDeviceGetCount())]
    if chosen is None:
        return [gpu for card in cards for gpu in card], "; ".join(["no GPU", *lost])
    found: list[Gpu] = []
    for entry in (part.strip() for part in chosen.split(",")):
        if entry.isdecimal() and int(entry) < len(cards):
            match = cards[int(entry)][:1]  # of a partitioned card CUDA shows one instance
        elif entry.startswith(UUIDS):
            match = _matching(entry, [gpu for card in cards for gpu in card])
        else:
            match = []
        if not match:
            break
        found += match
    return found, "; ".join([f"CUDA_VISIBLE_DEVICES={chosen!r} shows no GPU", *lost])


def _card(nvml: Any, index: int, root: Path, lost: list[str]) -> list[Gpu]:
    """What a card shows; one that does not answer keeps its index and shows nothing."""
    try:
        return _instances(nvml, nvml.nvmlDeviceGetHandleByIndex(index), root)
    except nvml.NVMLError as error:
        lost.append(f"GPU {index}: {error}")
        return []


def _instances(nvml: Any, handle: Any, root: Path) -> list[Gpu]:
    """A card's MIG instances, none where it holds none, or the card where it is not partitioned."""
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        capability: tuple[int, int] | None = (int(major), int(minor))
    except nvml.NVMLError:
        capability = None
    try:
        partitioned = bool(nvml.nvmlDeviceGetMigMode(handle)[0])
        slots = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if partitioned else 0
    except nvml.NVMLError:  # a card without MIG
        partitioned = False
    if not partitioned:
        return [_gpu(nvml, handle, capability, root)]
    found = []
    for index in range(slots):
        with contextlib.suppress(nvml.NVMLError):  # this slot holds no instance
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            found.append(_gpu(nvml, instance, capability, root))
    return found


def _gpu(nvml: Any, handle: Any, capability: tuple[int, int] | None, root: Path) -> Gpu:
    bf16 = capability is not None and capability[0] >= 8  # fp16 works on every card
    uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _name(nvml, handle)
    memory = _memory(nvml, handle)
    if memory is not None:
        return Gpu(uuid, name, *memory, bf16, capability=capability)
    total, free = system_memory(root)[0], available_bytes(root)
    return Gpu(uuid, name, total, free, bf16, shared=True, capability=capability)


def _memory(nvml: Any, handle: Any) -> tuple[int, int] | None:
    """(total, free) bytes; None for a board that shares the system's memory: it has no figures.

    Raises NVMLError where the query failed, which says nothing of the board.
    """
    try:
        version = nvml.nvmlMemory_v2  # v1 counts what the driver reserves as used
        info = nvml.nvmlDeviceGetMemoryInfo(handle, version=version)
    except (nvml.NVMLError, AttributeError, TypeError):
        try:
            info = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as error:
            if not _unsupported(error):
                raise
            return None
    return (int(info.total), int(info.free)) if info.total else None


def _unsupported(error: Exception) -> bool:
    """Whether an NVMLError says that a board has no such figure, rather than that it failed."""
    return getattr(error, "value", None) == NOT_SUPPORTED or "Not Supported" in str(error)


def _name(nvml: Any, handle: Any) -> str:
    try:
        return _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return "GPU"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu(reason: str, root: Path) -> Budget:
    available = available_bytes(root)
    return Budget(
        kind="cpu",
        device="cpu",
        available_gb=None,
        usable_bytes=available,
        source=f"CPU memory ({reason})",
        total_bytes=system_memory(root)[0],
        free_bytes=available,
    )
