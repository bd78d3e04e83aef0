"""A run folder from a stranger, and every command on it: nothing outside it may change."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from cell_train.run_folder.paths import RunFiles
from cell_train.training import checkpoint

from . import ground
from .ground import Score, Trials

STEERS = ("\x1b]", "\x1b[2J", "\x9b", "\u202e")
NASTY = "\x1b]0;title\x07\x1b[2J\x9b1m\u202ex"
COMMANDS = (
    *(("ls",), ("report", "{run}"), ("compare", "{run}", "{run}"), ("watch", "{run}")),
    *(("ask", "{run}", "hello"), ("resume", "{run}", "--progress", "plain"), ("rm", "{run}", "-y")),
)
LIMIT = 120.0  # seconds for a command


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text)
    for folder in ground.trials(given):
        precious = folder / "precious.txt"
        precious.write_text("mine\n" * 5000)
        shutil.copytree(whole.folder / "runs", folder / "runs")
        files = ground.the_run(folder)
        assert files is not None
        files.stage(3).result.unlink()
        chosen = given.random.sample(sorted(PLANTS), given.random.randint(1, 3))
        for name in chosen:
            PLANTS[name](files, precious)
        wrong = [said for words in COMMANDS for said in _wrong(words, folder, files)]
        if precious.read_text() != "mine\n" * 5000:
            wrong.append("a file outside was changed")
        beside = sorted(path.name for path in folder.iterdir())
        if beside != ["precious.txt", "runs"]:
            wrong.append(f"left {beside}")
        score.judge(", ".join(chosen), wrong + ground.left_over(folder))
        shutil.rmtree(folder)
    return score


def _wrong(words: tuple[str, ...], folder: Path, files: RunFiles) -> list[str]:
    said = [word.format(run=files.folder.name) for word in words]
    ended = ground.finish(ground.start(folder, *said), LIMIT)
    wrong = ended.wrong((0, 1, 2))
    wrong += [f"{words[0]} steers" for steer in STEERS if steer in ended.out + ended.err]
    return [f"{words[0]}: {one}" for one in wrong]


def _linked(name: str) -> Callable[[RunFiles, Path], None]:
    def plant(files: RunFiles, precious: Path) -> None:
        path = files.folder / name
        path.unlink(missing_ok=True)
        path.symlink_to(precious)

    return plant


def _second_name(files: RunFiles, precious: Path) -> None:
    files.lock.unlink(missing_ok=True)
    os.link(precious, files.lock)


def _piped(name: str) -> Callable[[RunFiles, Path], None]:
    def plant(files: RunFiles, _: Path) -> None:
        (files.folder / name).unlink(missing_ok=True)
        os.mkfifo(files.folder / name)

    return plant


def _nasty_events(files: RunFiles, _: Path) -> None:
    lines = [json.loads(line) for line in files.events.read_text().splitlines()]
    for event in lines:
        if event["event"] == "evaluation":
            event["metrics"][NASTY] = 1.0
            event["samples"] = [[NASTY, NASTY, NASTY]]
    files.events.write_text("".join(f"{json.dumps(event)}\n" for event in lines))


def _nasty_summary(files: RunFiles, _: Path) -> None:
    said = json.loads(files.summary.read_text())
    said["error"] = NASTY
    for row in said["stages"]:
        row["metrics"] = {NASTY: 0.5}
        row["primary"] = NASTY
        row["retries"] = [NASTY]
    files.summary.write_text(json.dumps(said))


def _unfolding(files: RunFiles, _: Path) -> None:
    for path in files.stage(3).checkpoints.glob("*.pt"):
        saved = checkpoint.load(path)
        saved["plastic"]["theta"] = torch.zeros(1).expand(1 << 44)
        _put(path, saved)


def _not_finite(files: RunFiles, _: Path) -> None:
    for path in files.stage(3).checkpoints.glob("*.pt"):
        saved = checkpoint.load(path)
        saved["connections"]["strength"][0] = float("inf")
        _put(path, saved)


def _put(path: Path, saved: dict[str, object]) -> None:
    step = int(path.stem.split("-")[1])
    path.unlink()
    checkpoint.save(path.parent, saved, step=step, keep=99)


def _long_events(files: RunFiles, _: Path) -> None:
    os.truncate(files.events, 8 << 30)  # no bytes, all of them zero


PLANTS: dict[str, Callable[[RunFiles, Path], None]] = {
    "a lock that is a link": _linked(".lock"),
    "a summary that is a link": _linked("summary.json"),
    "events that are a link": _linked("events.jsonl"),
    "a log that is a link": _linked("stage-3/worker.log"),
    "a lock of two names": _second_name,
    "a pipe for a plan": _piped("plan.json"),
    "a pipe for a manifest": _piped("stage-3/began.json"),
    "a pipe for a log": _piped("stage-3/worker.log"),
    "events that steer": _nasty_events,
    "a summary that steers": _nasty_summary,
    "tensors that unfold": _unfolding,
    "numbers that are not finite": _not_finite,
    "events without end": _long_events,
}
