"""Checkpoint files cut short, flipped, emptied or taken away; the run must not notice for long."""

import shutil
from pathlib import Path
from random import Random

from . import ground
from .ground import Score, Trials

HARMS = ("truncate", "flip", "zero", "remove", "grow")


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text)
    for folder in ground.trials(given):
        shutil.copytree(whole.folder / "runs", folder / "runs")
        files = ground.the_run(folder)
        assert files is not None
        files.stage(3).result.unlink()
        files.summary.unlink()
        checkpoints = sorted(folder.glob("runs/*/stage-*/checkpoints/*"))
        chosen = given.random.sample(checkpoints, given.random.randint(1, len(checkpoints)))
        harmed = [f"{_harm(path, given.random)} {path.name}" for path in chosen]
        score.judge(", ".join(harmed), ground.resumed(folder, whole))
        shutil.rmtree(folder)
    return score


def _harm(path: Path, random: Random) -> str:
    content = bytearray(path.read_bytes())
    how = random.choice(HARMS)
    at = random.randrange(len(content))
    if how == "remove":
        path.unlink()
        return how
    if how == "truncate":
        content = content[:at]
    elif how == "flip":
        content[at] ^= 1 << random.randrange(8)
    elif how == "zero":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    else:
        content += random.randbytes(100)
    path.write_bytes(content)
    return how
