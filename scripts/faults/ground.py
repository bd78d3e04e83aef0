"""What the fault tests share: a small run of the real command line, and how it is looked at."""

import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cell_train.data import builtin
from cell_train.run_folder.paths import RunFiles
from cell_train.training import checkpoint

ROOT = Path(__file__).parents[2]
LIMIT = 600.0  # seconds any command may take before it counts as hung; a busy machine takes long
SMALL = (
    "lattice.dimensions=[4,4,4]",
    "lattice.channels=6",
    "lattice.hidden=8",
    "lattice.backend=plain",
    "batch_size=16",
    "epochs=2",
    "dataset_limit=96",
    "data.held_out=20",
    "text.embedding=32",
    "text.decoder_hidden=16",
    "monitor.evaluate=10",
    "monitor.log_every=0",
    "training.checkpoint_every=0.001",  # after every step
)


@dataclass
class Score:
    """What a fault found out."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def judge(self, name: str, wrong: list[str]) -> None:
        """Count one trial, survived when nothing was wrong."""
        self.tried += 1
        if wrong:
            self.failures.append(f"{name}: {'; '.join(wrong)}")
        print(f"{name}: {'; '.join(wrong) or 'as promised'}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Trials:
    """What a fault is given."""

    folder: Path  # empty
    text: Path  # to train on
    random: random.Random
    count: int
    hours: float


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    seconds: float

    def wrong(self, codes: tuple[int, ...], *says: str) -> list[str]:
        """What is not as promised: its code, a sentence it owes, a traceback to the user."""
        said = self.out + self.err
        found = [] if self.code in codes else [f"ended with {self.code}: {self.err[-300:]!r}"]
        found += [
            f"does not say {words!r}: {self.err[-300:]!r}" for words in says if words not in said
        ]
        shown = [line for line in self.err.splitlines() if not line.startswith("  ")]
        return found + (["shows a traceback"] if any("Traceback" in x for x in shown) else [])


@dataclass(frozen=True)
class Whole:
    """An undisturbed run, which harmed ones must come to equal."""

    folder: Path
    seconds: float
    states: dict[int, str]  # of each stage


@functools.cache
def undisturbed(text: Path, stages: str = "1-3", *words: str) -> Whole:
    """A whole run on the text, in a folder beside it; the same for all who ask for the same."""
    folder = Path(tempfile.mkdtemp(prefix="undisturbed-", dir=text.parent))
    ended = do(folder, *run_words(text, stages, *words), environment=naughty({}))
    assert ended.code == 0, ended.err
    first, _, last = stages.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    return Whole(folder, ended.seconds, fingerprints(folder, numbers))


def differs(folder: Path, whole: Whole) -> list[str]:
    """Nothing, where a run came to the same bits."""
    same = fingerprints(folder, whole.states) == whole.states
    return [] if same else ["its final state differs from the undisturbed run's"]


def resumed(folder: Path, whole: Whole) -> list[str]:
    """What is wrong once a run is gone on with, if there is anything left of it to do."""
    ended = do(folder, "resume", "--progress", "plain")
    wrong = [] if "no unfinished run" in ended.err else ended.wrong((0,))
    return wrong + differs(folder, whole) + left_over(folder)


def text_file(folder: Path) -> Path:
    """A small corpus, so that a worker starts quickly."""
    path = folder / "text.txt"
    path.write_text("\n".join(builtin.sentences(150, seed=0)))
    return path


def start(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None, **how: Any
) -> "subprocess.Popen[str]":
    """Start celltrain in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "cell_train", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def run_words(text: Path, stages: str = "1-3", *words: str) -> list[str]:
    """The arguments of a small run."""
    device = ("--device", "cpu", "--threads", "1", "--progress", "plain")
    return ["run", "--stages", stages, *device, *SMALL, f"data.path={text}", *words]


def finish(process: "subprocess.Popen[str]", limit: float = LIMIT) -> Ended:
    """Wait for its end; a hang is a kill with code -9 after `limit` seconds."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nhung for {limit:g} s"
    return Ended(process.returncode, out, err, time.monotonic() - began)


def do(folder: Path, *words: str, **how: Any) -> Ended:
    return finish(start(folder, *words, **how))


def the_run(folder: Path) -> RunFiles | None:
    """The one run of a folder, None before it is planned."""
    found = sorted(folder.glob("runs/*/plan.json"))
    return RunFiles(found[-1].parent) if found else None


def fingerprints(folder: Path, stages: Iterable[int]) -> dict[int, str]:
    """Of each stage's newest checkpoint; "none" where there is none."""
    files, found = the_run(folder), {}
    for number in stages:
        saved = checkpoint.newest(files.stage(number).checkpoints)[0] if files else None
        found[number] = checkpoint.fingerprint(saved) if saved else "none"
    return found


def summary(folder: Path) -> dict[str, Any]:
    files = the_run(folder)
    return json.loads(files.summary.read_text()) if files and files.summary.exists() else {}


def capsule(folder: Path) -> dict[str, Any]:
    """The report of the crash capsule."""
    files = the_run(folder)
    path = files.crash / "report.json" if files else folder / "absent"
    return json.loads(path.read_text()) if path.exists() else {}


def naughty(orders: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a run with task=faults.naughty:Naughty."""
    return {"NAUGHTY": json.dumps(orders), "CELLTRAIN_TRUST": "faults"}


def worker_of(process: "subprocess.Popen[str]") -> psutil.Process | None:
    """The worker a running celltrain has started."""
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return None
    return children[0] if children else None


def left_over(folder: Path) -> list[str]:
    """Workers that still run on a run of `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "cell_train.training.worker" in words and any(str(folder) in word for word in words):
            found.append(f"worker {process.pid} still runs")
    return found


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def trials(fault: Trials) -> Iterator[Path]:
    """An empty folder for each."""
    for index in range(fault.count):
        folder = fault.folder / f"trial-{index}"
        folder.mkdir()
        yield folder
