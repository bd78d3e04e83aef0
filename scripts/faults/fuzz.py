"""Mutated stage files, data, plans, results and checkpoints: an error that is ours, and soon.

Mutants that reach a line none before reached are mutated further.
"""

import contextlib
import copy
import gzip
import hashlib
import io
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
import torch

from cell_train.config import overrides, profiles, resolve, stage_file
from cell_train.console import output
from cell_train.data import corpus, embeddings
from cell_train.errors import CelltrainError
from cell_train.run_folder import folder, inputs, summary
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import gates
from cell_train.training import checkpoint
from cell_train.training.construction.saved import restore
from cell_train.training.setup import prepare
from cell_train.training.trainer import Trainer

from . import ground
from .ground import Score, Trials

LIMIT = 5  # seconds
THROUGH_CLI = 100  # one case in so many also goes through the command line
SPICES = (
    *(b"*a", b"&a ", b"!!python/object:os.system ", b"- ", b": ", b"\t", b"{", b"[", b"]", b'"'),
    *(b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"9" * 5000, b"1e999", b".nan", b"null", b"-1"),
    *(b"[" * 3000, b"{a: " * 500, b"../../../tmp/x", b"${env:HOME}", b"???", b"1:30", b"\r"),
    *(b'{"a":' * 2000, b"NaN", b"Infinity", b"\xe2\x80\xa8", b"true", b"\n", b"0x10", b"x" * 70000),
)
Check = Callable[[Path], object]


@dataclass
class Target:
    """A file of a kind, what reads it, and what has been found worth mutating."""

    name: str
    check: Check
    pool: list[bytes]


class TooLong(Exception):
    """Beyond LIMIT."""


def fault(given: Trials) -> Score:
    score, seen = Score(), set[tuple[str, int]]()
    files, trainer = _ground(given)
    targets = _targets(given.folder, files)
    around = _listing(given.folder)
    kinds: Counter[str] = Counter()
    for index in range(given.count):
        if index % 5 == 4:  # checkpoints: bytes that pass for whole, or wrong parts of a state
            name, wrong = "checkpoint", _try(lambda: _resume(trainer, files, given.random))
        else:
            target = given.random.choice(targets)
            name, wrong = target.name, _one(target, given, seen)
        if index % THROUGH_CLI == 0:
            wrong += _through_cli(given.folder, targets[0], given.random)
        kinds[name] += 1
        score.tried += 1
        if wrong:
            score.failures.append(f"{name} {index}: {wrong[0]}")
            print(score.failures[-1], flush=True)
    appeared = _listing(given.folder) ^ around
    if appeared:
        score.failures.append(f"files came or went: {sorted(appeared)[:5]}")
    score.notes = {"kinds": dict(kinds), "lines_reached": len(seen)}
    return score


def _ground(given: Trials) -> tuple[RunFiles, Trainer]:
    """A finished small run, and a trainer of its stage that checkpoints are given to."""
    ended = ground.do(given.folder, *ground.run_words(given.text, "1"))
    files = ground.the_run(given.folder)
    assert ended.code == 0, ended.err
    assert files is not None
    resolved = resolve.read(files.stage(1).resolved)
    return files, prepare(resolved, files.stage(1), lambda *_, **__: None, lambda: False)


def _targets(place: Path, files: RunFiles) -> list[Target]:
    known = profiles.load().plasticity
    stage = stage_file.built_in_folder() / "stage3.yaml"
    plan = json.loads(files.plan.read_text())
    row = summary.planned_row(plan["stages"][0])
    names = {"plan.json": files.plan, "resolved.yaml": files.stage(1).resolved}
    names |= {"result.json": files.stage(1).result, "began.json": files.stage(1).began}
    mutant = RunFiles(place / "mutant")
    mutant.stage(1).checkpoints.mkdir(parents=True)
    for source in files.stage(1).checkpoints.iterdir():
        (mutant.stage(1).checkpoints / source.name).write_bytes(source.read_bytes())
    seeds = {name: path.read_bytes() for name, path in names.items()}
    mutant.stage(1).resolved.write_bytes(seeds["resolved.yaml"])

    def whole_plan(path: Path) -> None:
        path.rename(mutant.plan)
        found = folder.read_plan(mutant)
        rows = [summary.planned_row(stage) for stage in found["stages"]]
        [gates.parse(text) for text in found["require"]]
        with Path("/dev/null").open("w") as stream:
            output.print_summary(summary.record(mutant, "failed", rows), stream)

    def result(path: Path) -> None:
        path.rename(mutant.stage(1).result)
        done = summary.read_result(mutant.stage(1), row)
        if done is not None:
            assert Path(done["checkpoint"]).parent == mutant.stage(1).checkpoints
            with Path("/dev/null").open("w") as stream:
                output.print_summary(summary.record(mutant, "completed", [done]), stream)

    def beginning(path: Path) -> None:
        path.rename(mutant.stage(1).began)
        inputs.changes(mutant.stage(1), resolve.read(mutant.stage(1).resolved).stage)

    def words(path: Path) -> None:
        overrides.read([path.read_bytes().decode(errors="replace")], {}, known)

    def data(suffix: str) -> Check:
        def read(path: Path) -> None:
            loaded = corpus.load(str(path.rename(path.with_suffix(suffix))))
            for texts in (loaded.train, loaded.held_out):
                assert len(list(texts)) == len(texts)

        return read

    def numbers(suffix: str) -> Check:
        def read(path: Path) -> None:
            name = str(path.rename(path.with_suffix(suffix)))
            embeddings.check(embeddings.open_table(name, paired=False), name, 3, 2)

        return read

    def stage_of(path: Path) -> object:
        read = stage_file.load_file(path.rename(path.with_suffix(".yaml")), known)
        return resolve.resolve(
            read, profiles.load(), profiles.choose(profiles.load(), "cpu", None), []
        )

    text = b"\n".join(b"a dog %d runs to the house" % n for n in range(60))
    jsonl = b"\n".join(b'{"text": "a dog %d runs", "reply": "no"}' % n for n in range(60))
    csv = b"id,text,reply\n" + b"\n".join(b'%d,"a dog, no %d",no' % (n, n) for n in range(60))
    return [
        Target("stage file", stage_of, [stage.read_bytes()]),
        Target("data.txt", data(".txt"), [text]),
        Target("data.jsonl", data(".jsonl"), [jsonl]),
        Target("data.csv", data(".csv"), [csv]),
        Target("data.tsv", data(".tsv"), [csv.replace(b",", b"\t")]),
        Target("data.txt.gz", data(".txt.gz"), [gzip.compress(text, mtime=0)]),
        Target("rows.npy", numbers(".npy"), [_saved(np.save)]),
        Target("rows.npz", numbers(".npz"), [_saved(np.savez)]),
        Target("rows.safetensors", numbers(".safetensors"), [SAFE]),
        Target("plan.json", whole_plan, [seeds["plan.json"]]),
        Target("resolved.yaml", resolve.read, [seeds["resolved.yaml"]]),
        Target("result.json", result, [seeds["result.json"]]),
        Target("began.json", beginning, [seeds["began.json"]]),
        Target(
            "override", words, [b"lattice.dimensions=[4,4,4]", b"advance_if={metric: a, min: 1}"]
        ),
        Target("profiles", profiles.load, [profiles_file().read_bytes()]),
    ]


def _saved(save: Callable[..., None]) -> bytes:
    """Three rows of two numbers, as numpy writes them."""
    stream = io.BytesIO()
    save(stream, np.ones((3, 2), np.float32))
    return stream.getvalue()


HEADER = b'{"text": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}}'
SAFE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(24)


def profiles_file() -> Path:
    return Path(profiles.__file__).with_name("tables") / "profiles.yaml"


def _one(target: Target, given: Trials, seen: set[tuple[str, int]]) -> list[str]:
    content = _mutated(given.random.choice(target.pool), given.random)
    path = given.folder / "mutant" / "file"
    path.write_bytes(content)
    reached: set[tuple[str, int]] = set()
    with _tracing(reached):
        wrong = _try(lambda: target.check(path))
    if reached - seen:
        target.pool.append(content)
        seen |= reached
    for left in (given.folder / "mutant").glob("file*"):
        left.unlink()
    return wrong


def _try(check: Callable[[], object]) -> list[str]:
    """What is wrong with how it ended: anything but an error of ours, in time."""

    def late(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    began_at = time.monotonic()
    try:
        check()
    except CelltrainError:
        pass
    except TooLong:
        return [f"took longer than {LIMIT} s"]
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        return [f"{type(error).__name__}: {str(error)[:200]} at {where}"]
    finally:
        signal.alarm(0)
    took = time.monotonic() - began_at
    return [f"took {took:.1f} s"] if took > LIMIT else []


@contextlib.contextmanager
def _tracing(reached: set[tuple[str, int]]) -> Iterator[None]:
    """Note the lines of the package that run."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if "cell_train" not in frame.f_code.co_filename:
            return None
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def _mutated(content: bytes, random: Random) -> bytes:
    """A few changes anywhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        at, to = sorted(random.randrange(len(changed) + 1) for _ in range(2))
        match random.randrange(6):
            case 0:
                changed[at:at] = random.choice(SPICES)
            case 1:
                changed[at : min(to, at + 40)] = random.choice(SPICES)
            case 2:
                del changed[at : min(to, at + 200)]
            case 3:
                changed[at:at] = changed[at : min(to, at + 300)]
            case 4:
                changed = changed[:at]
            case _ if changed:
                changed[min(at, len(changed) - 1)] = random.randrange(256)
    return bytes(changed)


def _resume(trainer: Trainer, files: RunFiles, random: Random) -> None:
    """Load a checkpoint whose bytes or parts are mutated and whose manifest vouches for them."""
    source = next(files.stage(1).checkpoints.glob("*.pt"))
    path = files.folder.parents[1] / "mutant" / "step-000001.pt"
    if random.random() < 0.5:
        path.write_bytes(_mutated(source.read_bytes(), random))
    else:
        state = checkpoint.load(source)
        torch.save(_wrong_somewhere(copy.deepcopy(state), random), path)
    facts: dict[str, Any] = {"format": 1, "step": 1, "bytes": path.stat().st_size}
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(facts))
    try:
        restore(trainer.state, checkpoint.load(path), 1)
    finally:
        path.unlink()
        path.with_suffix(".json").unlink()


def _wrong_somewhere(state: Any, random: Random) -> Any:
    """The state with one leaf or branch replaced."""
    strange: tuple[Any, ...] = (None, -1, 2**70, "x", [], {}, float("nan"), torch.zeros(3), True)
    holder = state
    while True:
        key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if isinstance(inner, (dict, list)) and inner and random.random() < 0.8:
            holder = inner
            continue
        if isinstance(inner, torch.Tensor) and random.random() < 0.5:
            holder[key] = (
                random.choice((inner[:-1], inner.double(), inner * 3)) if inner.ndim else 7
            )
        elif isinstance(holder, dict) and random.random() < 0.3:
            del holder[key]
        else:
            holder[key] = random.choice(strange)
        return state


def _through_cli(place: Path, target: Target, random: Random) -> list[str]:
    stages = place / "stages"
    stages.mkdir(exist_ok=True)
    (stages / "stage3.yaml").write_bytes(_mutated(random.choice(target.pool), random))
    ended = ground.do(place, "plan", "--stages-dir", str(stages), "--vram", "16")
    (stages / "stage3.yaml").unlink()
    stages.rmdir()
    return ended.wrong((0, 2, 3))


def _listing(place: Path) -> set[str]:
    """Everything in the fault's folder that no mutant may touch."""
    return {str(path) for path in place.rglob("*") if "mutant" not in path.parts}
