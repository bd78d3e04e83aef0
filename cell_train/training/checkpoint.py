"""Checkpoints: complete or absent, verified before use, safe to load from strangers.

`step-000120.pt` holds tensors and plain data (loaded with weights_only, so that nothing in it can
execute); `step-000120.json`, written last, its length, SHA-256 and, after an evaluation, its
score. Without a manifest that matches, a checkpoint does not exist. After a stage was rolled back
its checkpoints are called `step-000120.r1.pt`, which counts as newer than any without.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from cell_train.errors import CheckpointError
from cell_train.storage import is_whole, write_atomically, write_text

FORMAT = 1
NAME = re.compile(r"step-(\d{6,12})(?:\.r(\d{1,3}))?\.json")
MANIFEST_BYTES = 1 << 16
DEEPEST = 8  # levels of what a checkpoint holds
NAMED = 60  # characters of a name that are said
TIMES = ("seconds",)  # what the clock says, and no resumed run can repeat


def save(
    folder: Path,
    state: dict[str, Any],
    *,
    step: int,
    keep: int,
    rollbacks: int = 0,
    score: float | None = None,
) -> tuple[Path, int]:
    """Write `state` as the checkpoint of `step`; older ones go, but `keep` and the best.

    (path, bytes). One that is there already is not written again: steps repeat exactly. Raises
    OSError as the file system does; what was there before is then still there.
    """
    folder.mkdir(exist_ok=True)  # not the folders above: a run that was moved is gone
    path = folder / (f"step-{step:06d}" + (f".r{rollbacks}" if rollbacks else "") + ".pt")
    manifest = path.with_suffix(".json")
    existing = _sound_facts(path)
    if existing is None:
        manifest.unlink(missing_ok=True)  # the old manifest must never vouch for new bytes
        write_atomically(path, lambda stream: _write({"format": FORMAT, **state}, stream))
    size = path.stat().st_size
    facts = {"format": FORMAT, "step": step, "bytes": size, "sha256": _digest(path)}
    score = score if score is not None else (existing or {}).get("score")
    if score is not None:
        facts["score"] = score
    text = json.dumps(facts, indent=1) + "\n"
    if not manifest.is_file() or manifest.read_text() != text:
        try:
            write_text(manifest, text)
        except OSError:
            if not manifest.is_file():
                path.unlink(missing_ok=True)  # give back the room
            raise
    _prune(folder, path, keep)
    return path, size


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`, on the CPU. Raises CheckpointError naming what is wrong."""
    _facts(path)
    try:
        if not is_whole(path):
            raise CheckpointError(
                f"{path}: its contents are not those its manifest describes (truncated or altered);"
                " use another checkpoint"
            )
        with zipfile.ZipFile(path) as parts:  # stored as they are, nothing can unfold in memory
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise CheckpointError(f"{path}: holds compressed parts; use another checkpoint")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: cannot be read ({reason}); use another") from error
    written = state.get("format") if isinstance(state, dict) else None
    if type(written) is not int or written != FORMAT:
        raise CheckpointError(f"{path}: holds no state of a stage; use another checkpoint")
    wrong = _untold(state, path.stat().st_size)
    if wrong is not None:
        raise CheckpointError(f"{path}: {wrong}; use another checkpoint")
    return state


def _untold(state: Any, size: int, name: str = "", depth: int = 0) -> str | None:
    """What in a checkpoint of `size` bytes no stage has saved; None where there is nothing.

    A tensor may say that it is larger than what is stored of it, and then unfolds in memory as
    soon as it is touched; one number that is not finite spoils all that comes after.
    """
    if depth > DEEPEST:
        return f"{name} is nested deeper than {DEEPEST} levels"
    if isinstance(state, Tensor):
        return _untold_tensor(state, size, name)
    if isinstance(state, dict):
        parts = [(f"{name}.{key}"[-NAMED:].lstrip("."), part) for key, part in state.items()]
    elif isinstance(state, list | tuple):
        parts = [(name, part) for part in state]
    elif state is None or isinstance(state, bool | int | float | str | bytes):
        return None
    else:
        return f"{name} is of a kind that no stage saves ({type(state).__name__})"
    return next(
        (said for key, part in parts if (said := _untold(part, size, key, depth + 1))), None
    )


def _untold_tensor(tensor: Tensor, size: int, name: str) -> str | None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return f"{name} is a tensor of a kind that no stage saves"
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > stored or stored > size:
        return f"{name} says it has {list(tensor.shape)} numbers, of which not all are stored"
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        return f"{name} holds numbers that are not finite"
    return None


def sound(folder: Path, damaged: list[str]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every sound checkpoint, newest first; what is wrong with the others goes to `damaged`."""
    for manifest in _manifests(folder):
        path = manifest.with_suffix(".pt")
        try:
            state = load(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        yield state, path


def newest(folder: Path) -> tuple[dict[str, Any] | None, Path | None, list[str]]:
    """The newest sound checkpoint of a stage, its path, and what is wrong with newer ones."""
    damaged: list[str] = []
    state, path = next(sound(folder, damaged), (None, None))
    return state, path, damaged


def best(folder: Path) -> Path | None:
    """The checkpoint whose evaluation scored highest, of those that are there."""
    scored = []
    for manifest in _manifests(folder):
        try:
            score = _facts(manifest.with_suffix(".pt")).get("score")
        except CheckpointError:
            continue
        if isinstance(score, float):
            scored.append((score, manifest.with_suffix(".pt")))
    return max(scored)[1] if scored else None


def fingerprint(state: Any) -> str:
    """A hash of every tensor and number of a checkpoint, apart from what the clock says."""
    total = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, Tensor):
            total.update(item.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(item, dict):
            for key in item:
                if key not in TIMES:
                    total.update(str(key).encode())
                    add(item[key])
        elif isinstance(item, list | tuple):
            for part in item:
                add(part)
        else:
            total.update(repr(item).encode())

    add(state)
    return total.hexdigest()


def _write(state: dict[str, Any], stream: BinaryIO) -> None:
    """torch.save, which hides the file system's error behind one of its own."""
    try:
        torch.save(state, stream)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _prune(folder: Path, saved: Path, keep: int) -> None:
    """Of what is not ahead of `saved`, leave the newest `keep` and the best.

    What lies ahead was skipped when the stage went on from an earlier one: damaged, or made by a
    newer celltrain. What has no manifest is left from a kill.
    """
    manifests = list(_manifests(folder))
    manifests = manifests[manifests.index(saved.with_suffix(".json")) :]
    kept = {path.stem for path in manifests[:keep]}
    champion = best(folder)
    if champion is not None:
        kept.add(champion.stem)
    for manifest in manifests:
        if manifest.stem not in kept:
            manifest.unlink(missing_ok=True)
    for path in [*folder.glob("step-*.pt"), *folder.glob(".step-*.tmp")]:
        if not path.with_suffix(".json").is_file():
            path.unlink(missing_ok=True)


def _facts(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest. Raises CheckpointError."""
    manifest = path.with_suffix(".json")
    try:
        with manifest.open("rb") as stream:
            facts: dict[str, Any] = json.loads(stream.read(MANIFEST_BYTES).decode())
        newer = facts["format"] > FORMAT
        if not (isinstance(facts["bytes"], int) and isinstance(facts["sha256"], str)):
            raise TypeError("bytes or sha256 is of another type")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: its manifest {manifest.name} is missing or damaged ({error});"
            " use another checkpoint"
        ) from error
    if newer:
        raise CheckpointError(
            f"{path}: format {facts['format']} is newer than this celltrain reads ({FORMAT});"
            " upgrade celltrain"
        )
    return facts


def _sound_facts(path: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint that is what its manifest says."""
    try:
        return _facts(path) if is_whole(path) else None
    except CheckpointError:
        return None


def _manifests(folder: Path) -> Iterator[Path]:
    """Newest first."""
    if not folder.is_dir():
        return
    found = [
        (int(match[2] or 0), int(match[1]), path)
        for path in folder.iterdir()
        if (match := NAME.fullmatch(path.name))
    ]
    for *_, path in sorted(found, reverse=True):
        yield path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
