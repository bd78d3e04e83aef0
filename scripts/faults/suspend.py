"""A run that is stopped for longer than its watchdog waits, and goes on: no silence, no time."""

import signal
import subprocess
import time

import psutil

from cell_train import lived

from . import ground
from .ground import Score, Trials

WAYS = ("both at once", "the parent alone", "Ctrl-Z")
REST = 8.0  # seconds within which a worker whose parent is stopped must rest


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text, "1")
    for index, folder in enumerate(ground.trials(given)):
        way = WAYS[index % len(WAYS)]
        watchdog = 2 * lived.LONGEST + whole.seconds  # a start takes long on a busy machine
        words = ground.run_words(given.text, "1", f"training.watchdog={watchdog:.1f}")
        process = ground.start(folder, *words)
        wrong = _suspend(process, way, given.random.uniform(0, whole.seconds / 2), watchdog + 4)
        ended = ground.finish(process)
        wrong += ended.wrong((0,)) + ground.differs(folder, whole) + ground.left_over(folder)
        wrong += ["it was taken for silence"] if "silent" in ended.err else []
        score.judge(way, wrong)
    return score


def _suspend(process: "subprocess.Popen[str]", way: str, wait: float, pause: float) -> list[str]:
    """Stop it after a while, let it go on after `pause` seconds; whether its worker did too."""
    if not ground.wait_until(lambda: ground.worker_of(process) is not None, 60):
        return ["no worker began"]
    time.sleep(wait)
    worker = ground.worker_of(process)
    if worker is None or process.poll() is not None:
        return []
    if way == "both at once":
        worker.suspend()
    process.send_signal(signal.SIGTSTP if way == "Ctrl-Z" else signal.SIGSTOP)
    wrong = []
    try:
        if way == "Ctrl-Z":
            stopped = ground.wait_until(lambda: worker.status() == psutil.STATUS_STOPPED, REST)
            wrong = [] if stopped else ["Ctrl-Z left its worker at work"]
        time.sleep(pause)
        if way == "both at once":
            worker.resume()
    except psutil.NoSuchProcess:  # the stage was done
        pass
    process.send_signal(signal.SIGCONT)
    return wrong
