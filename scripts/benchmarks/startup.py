"""How long the command line takes to answer, against a Python that does nothing.

With bytecode, as pip installs it: the first round, which does not count, writes what is missing.
"""

import os
import subprocess
import sys
from collections.abc import Callable

from scripts.benchmarks.common import ROOT, Result, interleaved

COMMANDS = {
    "pass": ["-c", "pass"],
    "help": ["-m", "cell_train", "--help"],
    "plan": ["-m", "cell_train", "plan", "--stages", "1-5"],
}


def startup(rounds: int) -> list[Result]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def arm(words: list[str]) -> Callable[[], object]:
        command, nowhere = [sys.executable, *words], subprocess.DEVNULL
        return lambda: subprocess.run(
            command, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere, check=True
        )

    seconds = interleaved({name: arm(words) for name, words in COMMANDS.items()}, rounds)
    parts = {f"{name}_seconds": round(value, 4) for name, value in seconds.items()}
    return [
        Result("plan_startup", seconds["plan"] / seconds["pass"], 23, "lower", parts),
        Result("help_startup", seconds["help"] / seconds["pass"], 12, "lower", parts),
    ]
