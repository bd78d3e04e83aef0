"""How long the command line takes to answer, against a Python that does nothing."""

import subprocess
import sys
from collections.abc import Callable

from scripts.benches.common import ROOT, Result, interleaved

COMMANDS = {
    "pass": ["-c", "pass"],
    "help": ["-m", "cell_train", "--help"],
    "plan": ["-m", "cell_train", "plan", "--stages", "1-5"],
}


def startup(rounds: int) -> list[Result]:
    def arm(words: list[str]) -> Callable[[], object]:
        command = [sys.executable, *words]
        return lambda: subprocess.run(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
        )

    seconds = interleaved({name: arm(words) for name, words in COMMANDS.items()}, rounds)
    parts = {f"{name}_seconds": round(value, 4) for name, value in seconds.items()}
    return [
        Result("plan_startup", seconds["plan"] / seconds["pass"], 23, "lower", parts),
        Result("help_startup", seconds["help"] / seconds["pass"], 12, "lower", parts),
    ]
