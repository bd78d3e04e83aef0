"""Ctrl-C, twice, SIGTERM, the time limit: each its code and its seconds, and nothing is lost."""

import signal
import time
from pathlib import Path

from . import ground
from .ground import Score, Trials

SAVE = 10.0  # seconds a first signal may take
NOW = 2.0  # seconds a second one may take
WAYS = ("SIGINT", "SIGTERM", "SIGINT twice", "SIGTERM twice", "timeout", "worker")


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text)
    for index, folder in enumerate(ground.trials(given)):
        way = WAYS[index % len(WAYS)]
        moment = given.random.uniform(0.5, whole.seconds)
        wrong = _stop(folder, given.text, way, moment)
        if ground.the_run(folder):
            wrong += ground.resumed(folder, whole)
        score.judge(f"{way} after {moment:.1f} s", wrong)
    return score


def _stop(folder: Path, text: Path, way: str, moment: float) -> list[str]:
    if way == "timeout":
        ended = ground.do(folder, *ground.run_words(text, "1-3", "--timeout", f"{moment:.2f}"))
        late = ended.seconds > moment + SAVE + NOW  # and what it takes to begin
        return ended.wrong((124, 0)) + (["ended late"] if late else [])
    process = ground.start(folder, *ground.run_words(text))
    if not ground.wait_until(lambda: ground.worker_of(process) is not None, 60):
        return ["no worker began"]
    time.sleep(moment)
    worker = ground.worker_of(process)
    if way == "worker":
        if worker is None:
            return ground.finish(process).wrong((0,))
        worker.terminate()
        return ground.finish(process).wrong((0, 1))
    name, _, twice = way.partition(" ")
    sent, code = signal.Signals[name], {"SIGINT": 130, "SIGTERM": 143}[name]
    if process.poll() is not None:
        return ground.finish(process).wrong((0,))
    process.send_signal(sent)
    if twice:
        time.sleep(0.1)
        process.send_signal(sent)
    ended = ground.finish(process)
    finished = ended.code == 0 and ground.summary(folder).get("status") == "completed"
    wrong = [] if finished else ended.wrong((code,), *((" resume ",) if not twice else ()))
    if ended.seconds > (NOW if twice else SAVE):
        wrong.append(f"took {ended.seconds:.1f} s")
    return wrong
