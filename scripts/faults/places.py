"""Places that lack something: a home, room for temporary files, open files, plain names."""

import functools
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import ground
from .ground import Score, Trials

WORDS = ("lattice.backend=auto",)
SERVICES = {
    "CELLTRAIN_SERVICE_HOST": "10.0.0.1",
    "CELLTRAIN_PORT": "tcp://10.0.0.1:80",
    "CELLTRAIN_PORT_80_TCP_ADDR": "10.0.0.1",
}
FOREIGN = (".DS_Store", "Thumbs.db", "plan.json~", ".plan.json.swp", "Icon\r", "desktop.ini")


def fault(given: Trials) -> Score:
    score = Score()
    whole = ground.undisturbed(given.text, "1", *WORDS)
    ways = list(WAYS)
    given.random.shuffle(ways)
    for index, folder in enumerate(ground.trials(given)):
        way = ways[index % len(ways)]
        place, environment, how = WAYS[way](folder)
        words = ground.run_words(given.text, "1", *WORDS)
        ended = ground.do(place, *words, environment=environment, **how)
        wrong = ended.wrong((0, 1, 2) if how else (0,))
        if ended.code != 0 and not ground.the_run(place):
            wrong += ground.do(place, *words).wrong((0,))  # refused before it began
        score.judge(way, wrong + ground.resumed(place, whole))
    return score


Place = tuple[Path, Mapping[str, str], dict[str, Any]]


def _environment(**variables: str) -> Callable[[Path], Place]:
    def make(folder: Path) -> Place:
        (folder / "file").touch()
        filled = {name: value.format(folder=folder) for name, value in variables.items()}
        return folder, filled, {}

    return make


def _limited(which: int, most: int) -> Callable[[Path], Place]:
    limit = functools.partial(resource.setrlimit, which, (most, most))
    return lambda folder: (folder, {}, {"preexec_fn": limit})


def _named(name: bytes) -> Callable[[Path], Place]:
    def make(folder: Path) -> Place:
        place = folder / os.fsdecode(name)
        place.mkdir()
        return place, {}, {}

    return make


def _among_others(folder: Path) -> Place:
    """Files of other programs, and folders that are no runs."""
    for name in FOREIGN:
        (folder / "runs" / "20200101T000000Z-old").mkdir(parents=True, exist_ok=True)
        (folder / "runs" / name).write_text("{")
        (folder / "runs" / "20200101T000000Z-old" / name).write_text("{")
    (folder / "runs" / "gone").symlink_to("nowhere")
    (folder / "runs" / "round").symlink_to("round")
    return folder, {}, {}


WAYS: dict[str, Callable[[Path], Place]] = {
    "a home that is not there": _environment(HOME="/nonexistent", XDG_CACHE_HOME=""),
    "a cache that is a file": _environment(XDG_CACHE_HOME="{folder}/file"),
    "no temporary folder": _environment(TMPDIR="{folder}/file", TEMP="/proc", TMP="/proc"),
    "variables of an orchestrator": lambda folder: (folder, SERVICES, {}),
    "files that may not grow": _limited(resource.RLIMIT_FSIZE, 100_000),
    "few open files": _limited(resource.RLIMIT_NOFILE, 24),
    "bytes that are no text": _named(b"caf\xe9 \x80"),
    "blanks and quotes": _named("a  'b' \"c\" $d\t{e} \u202eé".encode()),
    "a line end": _named(b"a\nb"),
    "among other files": _among_others,
}
