"""Places, streams, signals and moments drawn together: a run ends with saved work and a true code.

The seed of `--seed` draws them all; each trial names its own four.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from . import ground
from .ground import Score, Trials

STREAMS = {  # name -> redirection
    "kept": ">out 2>err",
    "closed": "<&- >&- 2>&-",
    "full": ">/dev/full 2>/dev/full",
    "stderr left": "2>&1 >out | true",
    "no reader for now": "2>&1 >out | sleep 15",
}
SIGNALS: dict[str, tuple[int | None, int]] = {  # name -> (what is sent, the code that says so)
    "none": (None, 0),
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGHUP": (signal.SIGHUP, 129),
    "SIGTSTP and SIGCONT": (signal.SIGTSTP, 0),
}


def _plain(folder: Path) -> dict[str, str]:
    return {}


def _odd_name(folder: Path) -> dict[str, str]:
    return {"TMPDIR": str(folder)}


def _strange_modules(folder: Path) -> dict[str, str]:
    for name in ("random", "json", "torch"):
        (folder / f"{name}.py").write_text("raise SystemExit(9)\n")
    return {}


def _no_home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder / "absent")}


def _another_encoding(folder: Path) -> dict[str, str]:
    return {"PYTHONIOENCODING": "ascii"}


PLACES: dict[str, Callable[[Path], dict[str, str]]] = {  # name -> what makes it; the environment
    "plain": _plain,
    "a name with spaces and letters": _odd_name,
    "modules lying about": _strange_modules,
    "no home": _no_home,
    "another encoding": _another_encoding,
}


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text, "1")
    for folder in ground.trials(given):
        place, stream, sent = (
            given.random.choice(list(table)) for table in (PLACES, STREAMS, SIGNALS)
        )
        moment = given.random.uniform(0, whole.seconds)
        here = folder / ("ä b'c" if place.startswith("a name") else "here")
        here.mkdir()
        wrong = _run(here, given.text, PLACES[place](here), STREAMS[stream], sent, moment)
        if ground.summary(here).get("status") != "completed" and ground.the_run(here):
            wrong += ground.resumed(here, whole)
        else:
            wrong += ground.differs(here, whole) if ground.the_run(here) else []
        score.judge(f"{place}, {stream}, {sent} after {moment:.1f} s", wrong)
    return score


def _run(
    folder: Path, text: Path, extra: dict[str, str], redirection: str, sent: str, moment: float
) -> list[str]:
    """One run; what is not true of its code, its summary and what it said."""
    argv = [sys.executable, "-P", "-m", "cell_train", *ground.run_words(text, "1")]
    script = f"{shlex.join(argv)} {redirection}; exit ${{PIPESTATUS[0]}}"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ground.ROOT), **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    number, code = SIGNALS[sent]
    began = ground.wait_until(lambda: (folder / "runs").exists() or shell.poll() is not None, 120)
    time.sleep(moment)
    if number is not None and began:
        _send(shell.pid, number)
    try:
        shell.wait(ground.LIMIT)
    except subprocess.TimeoutExpired:
        shell.kill()
        return ["hung"]
    status = ground.summary(folder).get("status")
    finished = (shell.returncode, status) == (0, "completed")
    # a signal that came before the run itself began is obeyed at once: there is nothing to save
    stopped = shell.returncode == code and status in ("interrupted", None)
    wrong = [] if finished or stopped else [f"ended with {shell.returncode}, {status}"]
    err = folder / "err"
    said = err.read_text(errors="replace") if err.exists() else ""
    if err.exists() and status == "interrupted" and "To go on:" not in said:
        wrong.append(f"does not say how to go on: {said[-200:]!r}")
    return wrong + (["shows a traceback"] if "Traceback" in said else [])


def _send(shell: int, number: int) -> None:
    """Send a signal to the celltrain that a shell has started; SIGTSTP for a moment only."""
    for process in psutil.Process(shell).children(recursive=True):
        try:
            if "cell_train" in process.cmdline():
                process.send_signal(number)
                if number == signal.SIGTSTP:
                    time.sleep(2)
                    process.send_signal(signal.SIGCONT)
                return
        except psutil.NoSuchProcess:
            continue
