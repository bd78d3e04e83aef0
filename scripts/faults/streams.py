"""What a run says goes nowhere: closed, full, left, held up, in an encoding that lacks letters."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from . import ground
from .ground import Score, Trials

WAYS = {  # name -> (redirection of a shell, environment)
    "closed": ("<&- >&- 2>&-", {}),
    "full": (">/dev/full 2>/dev/full", {}),
    "left": ("2>&1 | true", {}),
    "held up": ("2>&1 | sleep 15", {}),
    "latin-1": (">out 2>err", {"PYTHONIOENCODING": "latin-1"}),
    "ascii": (">out 2>err", {"PYTHONIOENCODING": "ascii"}),
    "left in the middle": ("| head -3 >out", {}),
}


def fault(given: Trials) -> Score:
    score = Score()
    ways = list(WAYS)
    for index, folder in enumerate(ground.trials(given)):
        way = ways[index % len(ways)]
        score.judge(way, through(folder, given.text, way) + ground.left_over(folder))
    return score


def through(folder: Path, text: Path, way: str, *words: str) -> list[str]:
    """Run once with its streams so; what is not as promised."""
    redirection, extra = WAYS[way]
    told = ["--json"] if way == "left in the middle" else []
    argv = [sys.executable, "-P", "-m", "cell_train", *ground.run_words(text, "1", *told, *words)]
    line = " ".join(f"'{word}'" for word in argv)
    script = f"{line} {redirection}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ground.ROOT), **extra}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=ground.LIMIT,
    )
    status = ground.summary(folder).get("status")
    ends = [(0, "completed")]
    if told:
        ends.append((128 + signal.SIGTERM, "interrupted"))
    found = (done.returncode, status)
    return [] if found in ends else [f"ended with {found[0]}, {found[1]}"]
