"""Files of the cache damaged, emptied, taken away or opened to others; no run may differ for it."""

import os
import shutil
from pathlib import Path
from random import Random

from cell_train import cache

from . import ground
from .ground import Score, Trials

HARMS = ("half", "empty", "flip", "remove", "link", "open", "another")
WORDS = ("lattice.backend=auto",)


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text, "1", *WORDS)
    for folder in ground.trials(given):
        kept = folder / "cache" / "celltrain"
        kept.mkdir(parents=True, mode=0o700)
        shutil.copytree(cache.room("steps"), kept / "steps")
        shutil.copytree(cache.room("text"), kept / "text")
        files = [path for path in sorted(kept.rglob("*.*")) if path.suffix != ".lock"]
        chosen = given.random.sample(files, given.random.randint(1, len(files)))
        harmed = [f"{_harm(path, given.random)} {path.name}" for path in chosen]
        words = ground.run_words(given.text, "1", *WORDS)
        ended = ground.do(folder, *words, environment={"XDG_CACHE_HOME": str(folder / "cache")})
        wrong = ended.wrong((0,)) + ground.differs(folder, whole)
        wrong += [f"{path} is not mended" for path in _unsound(kept)]
        score.judge(", ".join(harmed), wrong)
        shutil.rmtree(folder)
    return score


def _harm(path: Path, random: Random) -> str:
    how = random.choice(HARMS)
    content = path.read_bytes()
    if how == "remove":
        path.unlink()
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    elif how == "open":
        path.chmod(0o666)
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flip":
        at = random.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
    else:
        path.write_bytes(os.urandom(len(content)))
    return how


def _unsound(kept: Path) -> list[str]:
    """Libraries and indexes that a run has used and left as they were."""
    used = [*kept.glob("steps/*.so"), *kept.glob("text/*.npy")]
    newest = max((path.stat().st_mtime for path in kept.rglob("*.json")), default=0.0)
    return [
        path.name
        for path in used
        if cache.facts(path) is None and path.stat().st_mtime > newest - 1
    ]
