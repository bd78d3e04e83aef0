"""A small file system that fills up, or stops taking writes, while a run saves to it."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from cell_train.training import checkpoint

from . import ground
from .ground import Score, Trials

SIZE_MIB = 64
WAYS = ("full", "read-only", "full for a while")


def fault(given: Trials) -> Score:
    """Needs the right to mount a tmpfs."""
    score = Score()
    whole = ground.undisturbed(given.text)
    for index, folder in enumerate(ground.trials(given)):
        way = WAYS[index % len(WAYS)]
        with _small_disk(folder):
            wrong = _harm(folder, given.text, way, whole.seconds, given.random)
            wrong += ground.resumed(folder, whole)
        score.judge(way, wrong)
    return score


def _harm(folder: Path, text: Path, way: str, duration: float, random: Random) -> list[str]:
    """Run, take the disk away at a random moment, give it back after the run's end."""
    process = ground.start(folder, *ground.run_words(text))
    ground.wait_until(lambda: bool(list(folder.glob("runs/*/stage-1/checkpoints/*.json"))), 60)
    time.sleep(random.uniform(0, duration * 0.6))
    before = _sound(folder)
    held = max(folder.glob("runs/*/stage-*/checkpoints"))
    if way == "read-only":  # over itself: a whole file system in use cannot be made so
        _mount(held, "--bind", str(held))
        _mount(held, "-o", "remount,bind,ro")
    else:
        _fill(folder / "ballast")
    if way == "full for a while":
        time.sleep(random.uniform(0.2, 2))
        (folder / "ballast").unlink()
    ended = ground.finish(process)
    gone = [path.name for path in before if not path.exists() and not _newer(path)]
    wrong = [f"lost {name}" for name in gone]
    wrong += [f"damaged {path}" for path in _manifested(folder) if not _loads(path)]
    if way == "read-only":
        subprocess.run(["umount", held], check=True)
    (folder / "ballast").unlink(missing_ok=True)
    finished = ground.summary(folder).get("status") == "completed"
    if ended.code != 0 or not finished:
        wrong += ended.wrong((1,), " resume ")
        if "No space left" not in ended.err and "Read-only file system" not in ended.err:
            wrong.append(f"does not say why: {ended.err[-300:]!r}")
    return wrong


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    _mount(folder, "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: Path, *words: str) -> None:
    subprocess.run(["mount", *words, folder], check=True, capture_output=True)


def _fill(ballast: Path) -> None:
    """Take all the room there is."""
    with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(b"\0" * max(4096, shutil.disk_usage(ballast.parent).free)):
            pass


def _manifested(folder: Path) -> list[Path]:
    return [path.with_suffix(".pt") for path in folder.glob("runs/*/stage-*/checkpoints/*.json")]


def _sound(folder: Path) -> list[Path]:
    return [path for path in _manifested(folder) if path.exists()]


def _newer(path: Path) -> bool:
    """Whether one after it took its place."""
    return any(other.name > path.name for other in path.parent.glob("step-*.pt"))


def _loads(path: Path) -> bool:
    try:
        checkpoint.load(path)
    except Exception:
        return False
    return True
