"""Files of the cache damaged, emptied, taken away or opened to others; no run may differ for it."""

import contextlib
import os
import shutil
from pathlib import Path
from random import Random
from typing import NoReturn

from cell_train import cache
from cell_train.config import resolve
from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels import cpp

from . import ground
from .ground import Score, Trials, Whole

HARMS = ("half", "empty", "flip", "remove", "link", "open", "another")
WORDS = ("lattice.backend=auto",)


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text, "1", *WORDS)
    for folder in ground.trials(given):
        kept = folder / "cache" / "celltrain"
        kept.mkdir(parents=True, mode=0o700)
        used = (cache.room("steps") / _step(whole), *_indexes(given.text))
        files = [_copied(path, kept) for one in used for path in (one, one.with_suffix(".json"))]
        chosen = given.random.sample(files, given.random.randint(1, len(files)))
        harmed = [f"{_harm(path, given.random)} {path.name}" for path in chosen]
        words = ground.run_words(given.text, "1", *WORDS)
        ended = ground.do(folder, *words, environment={"XDG_CACHE_HOME": str(folder / "cache")})
        wrong = ended.wrong((0,)) + ground.differs(folder, whole)
        wrong += [
            f"{path.name} is not mended"
            for path in files
            if path.suffix != ".json" and cache.facts(path) is None
        ]
        score.judge(", ".join(harmed), wrong)
        shutil.rmtree(folder)
    return score


def _step(whole: Whole) -> str:
    """The name of the compiled step that the undisturbed run used."""
    (resolved,) = whole.folder.glob("runs/*/stage-1/resolved.yaml")
    lattice = resolve.read(resolved).stage.lattice
    names = []

    def keep(name: str, *_: object) -> NoReturn:
        names.append(name)
        raise OSError("only its name is asked for")

    with contextlib.suppress(cpp.Unavailable):
        cpp.load(RuleSize(lattice.channels, lattice.hidden, lattice.kernels), keep)
    return names[0]


def _indexes(text: Path) -> list[Path]:
    """The files of the cache that say where the lines of `text` lie; other texts have theirs."""
    found = cache.room("text").glob("*.npy")
    return [path for path in found if (cache.facts(path) or {}).get("path") == str(text)]


def _copied(path: Path, kept: Path) -> Path:
    target = kept / path.parent.name / path.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy2(path, target)
    return target


def _harm(path: Path, random: Random) -> str:
    how = random.choice(HARMS)
    content = path.read_bytes()
    if how == "remove":
        path.unlink()
    elif how == "link":
        aside = path.rename(path.with_name(f"aside-{path.name}"))
        path.symlink_to(aside.name)
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
