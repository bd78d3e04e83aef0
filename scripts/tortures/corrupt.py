"""Checkpoint files cut short, flipped, emptied or taken away; the run must not notice for long."""

import shutil
from pathlib import Path
from random import Random

from . import ground
from .ground import Score, Torture

HARMS = ("truncate", "flip", "zero", "remove", "grow")


def torture(given: Torture) -> Score:
    score = Score()
    text = ground.text_file(given.folder)
    reference = given.folder / "reference"
    reference.mkdir()
    whole = ground.do(reference, *ground.run_words(text, "1-2"))
    if whole.code != 0:
        score.judge("reference", whole.wrong((0,)))
        return score
    expected = ground.fingerprints(reference, (1, 2))
    for folder in ground.trials(given):
        shutil.copytree(reference / "runs", folder / "runs")
        files = ground.the_run(folder)
        assert files is not None
        files.stage(2).result.unlink()
        files.summary.unlink()
        checkpoints = sorted(folder.glob("runs/*/stage-*/checkpoints/*"))
        chosen = given.random.sample(checkpoints, given.random.randint(1, len(checkpoints)))
        harmed = [f"{_harm(path, given.random)} {path.name}" for path in chosen]
        ended = ground.do(folder, "resume", "--progress", "plain")
        wrong = ended.wrong((0,))
        if ground.fingerprints(folder, (1, 2)) != expected:
            wrong.append("its final state differs from the undamaged run's")
        score.judge(", ".join(harmed), wrong + ground.left_over(folder))
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
