"""SIGKILL at random moments; the run must resume, by itself, to the same bits."""

import contextlib
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from random import Random

import psutil

from . import ground
from .ground import Score, Trials

ORPHAN = 5.0  # seconds a worker may outlive its parent
KILLS_A_RUN = 6  # at most


def fault(given: Trials) -> Score:
    """`count` kills, several to a run."""
    score, moments = Score(), Counter[str]()
    whole, runs = ground.undisturbed(given.text), 0
    while score.tried < given.count:
        folder = given.folder / f"run-{runs}"
        folder.mkdir()
        runs += 1
        kills = min(given.random.randint(1, KILLS_A_RUN), given.count - score.tried)
        wrong = _one_run(folder, given.text, kills, whole.seconds, given.random, score, moments)
        wrong += ground.differs(folder, whole) + ground.left_over(folder)
        for what in wrong:
            score.failures.append(f"run {runs}: {what}")
            print(score.failures[-1], flush=True)
        if not wrong:
            shutil.rmtree(folder)
    score.notes = {"runs": runs, "moments": dict(moments)}
    return score


def _one_run(
    folder: Path,
    text: Path,
    kills: int,
    duration: float,
    random: Random,
    score: Score,
    moments: "Counter[str]",
) -> list[str]:
    """Begin, kill, resume, ... and let it end; what was not as promised."""
    wrong: list[str] = []
    words = ground.run_words(text)
    for _ in range(kills):
        process = ground.start(folder, *words)
        moment = random.choice(("any", "save", "between"))
        _wait_for(moment, folder, process, duration, random)
        worker = ground.worker_of(process)
        if process.poll() is not None:
            wrong += _ended_by_itself(ground.finish(process))
            break  # it was quicker than the kill
        victim = random.choice(("worker", "parent", "both")) if worker else "parent"
        wrong += _kill(process, worker, victim, patient=random.random() < 0.5)
        files = ground.the_run(folder)
        inside = bool(files and list(files.folder.glob("stage-*/checkpoints/.step-*.tmp")))
        moments[f"{victim}, {'inside a save' if inside else moment}"] += 1
        score.tried += 1
        if files is not None:
            words = ["resume", "--progress", "plain"]
    ended = ground.do(folder, *words)
    return wrong + _ended_by_itself(ended)


def _ended_by_itself(ended: ground.Ended) -> list[str]:
    """A run that was complete before the last kill has nothing left to resume."""
    return ended.wrong((0, 2) if "no unfinished run" in ended.err else (0,))


def _wait_for(
    moment: str, folder: Path, process: "subprocess.Popen[str]", duration: float, random: Random
) -> None:
    """Return at a random moment: at any, inside a save, or around the end of a stage."""
    running = process.poll
    end = time.monotonic() + random.uniform(0, duration)
    if moment == "any":
        ground.wait_until(lambda: running() is not None, end - time.monotonic())
        return
    if moment == "save":
        skip = random.randrange(12)
        for _ in range(skip + 1):
            ground.wait_until(lambda: bool(_saving(folder)) or running() is not None, 60, 0.0003)
            if _ < skip:
                ground.wait_until(lambda: not _saving(folder) or running() is not None, 60, 0.0003)
        return
    done = len(list(folder.glob("runs/*/stage-*/result.json")))
    ground.wait_until(
        lambda: (
            len(list(folder.glob("runs/*/stage-*/result.json"))) > done or running() is not None
        ),
        60,
        0.002,
    )
    time.sleep(random.choice((0.0, random.uniform(0, 0.05), random.uniform(0, 3))))


def _saving(folder: Path) -> list[Path]:
    return list(folder.glob("runs/*/stage-*/checkpoints/.step-*.tmp"))


def _kill(
    process: "subprocess.Popen[str]", worker: psutil.Process | None, victim: str, patient: bool
) -> list[str]:
    """Kill; what the survivor does wrong. A patient user waits before going on."""
    began = time.monotonic()
    if victim in ("worker", "both") and worker is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    if victim == "worker":
        ended = ground.finish(process)
        if ended.code == 0:
            return []  # the kill came after the last stage's end
        return ended.wrong((1,), "killed by SIGKILL", " resume ")
    process.kill()
    process.communicate()
    if worker is None or not patient:
        return []

    def gone() -> bool:
        return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE

    with contextlib.suppress(psutil.NoSuchProcess):
        if not ground.wait_until(gone, ORPHAN):
            return [f"its worker lives {time.monotonic() - began:.1f} s after it"]
    return []
