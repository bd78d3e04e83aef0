"""Checkpoints: complete or absent, verified before use, safe to load from strangers.

`step-000120.pt` holds tensors and plain data (loaded with weights_only, so that nothing in it can
execute); `step-000120.json`, written last, its length and SHA-256. Without a manifest that
matches, a checkpoint does not exist.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cell_train.errors import CheckpointError
from cell_train.run_files import write_atomically, write_text

FORMAT = 1
NAME = re.compile(r"step-(\d{6,})\.json")


def save(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> tuple[Path, int]:
    """Write `state` as the checkpoint of `step`; older ones beyond `keep` go. (path, bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:06d}.pt"
    manifest = path.with_suffix(".json")
    manifest.unlink(missing_ok=True)  # the old manifest must never vouch for new bytes
    write_atomically(path, lambda stream: torch.save({"format": FORMAT, **state}, stream))
    size = path.stat().st_size
    facts = {"format": FORMAT, "step": step, "bytes": size, "sha256": _digest(path)}
    write_text(manifest, json.dumps(facts, indent=1) + "\n")
    for old in list(_manifests(folder))[keep:]:
        old.unlink()
        old.with_suffix(".pt").unlink(missing_ok=True)
    return path, size


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`, on the CPU. Raises CheckpointError naming what is wrong."""
    manifest = path.with_suffix(".json")
    try:
        facts = json.loads(manifest.read_text())
        expected, size = facts["sha256"], facts["bytes"]
        if facts["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {facts['format']} is newer than this celltrain reads ({FORMAT});"
                " upgrade celltrain"
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its manifest {manifest.name} is missing or damaged ({error});"
            " use another checkpoint"
        ) from error
    try:
        if path.stat().st_size != size or _digest(path) != expected:
            raise CheckpointError(
                f"{path}: its contents are not those its manifest describes (truncated or altered);"
                " use another checkpoint"
            )
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        raise CheckpointError(f"{path}: cannot be read ({error}); use another") from error
    return state


def newest(folder: Path) -> tuple[dict[str, Any] | None, Path | None, list[str]]:
    """The newest sound checkpoint of a stage, its path, and what is wrong with newer ones."""
    damaged: list[str] = []
    for manifest in _manifests(folder):
        path = manifest.with_suffix(".pt")
        try:
            return load(path), path, damaged
        except CheckpointError as error:
            damaged.append(str(error))
    return None, None, damaged


def _manifests(folder: Path) -> Iterator[Path]:
    """Newest first."""
    if not folder.is_dir():
        return
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := NAME.fullmatch(p.name))]
    for _, path in sorted(found, reverse=True):
        yield path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
