"""How much text there is, for a plan: no torch here, and no long reading."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cell_train.errors import DataError
from cell_train.tasks.text import corpus

READ = 1 << 20  # bytes of a file that are read for a plan; a longer one fills any vocabulary
MANY = 1 << 62


@dataclass(frozen=True)
class Facts:
    """Counts over a corpus; where they are not known, more than any stage takes."""

    training: int  # pairs to train on
    held_out: int
    words: int  # different ones to train on
    longest: int  # words of the longest text


BUILT_IN = {
    "builtin": Facts(10_785, 1_215, 820, 12),
    "builtin:pairs": Facts(2_695, 305, 534, 12),
}
UNKNOWN = Facts(MANY, MANY, MANY, MANY)


def facts(path: str) -> Facts:
    """Of the built-in texts as counted once, of a small file as counted now, else unknown."""
    if path in BUILT_IN:
        return BUILT_IN[path]
    try:
        status = Path(path).stat()
        return counted(path, status.st_mtime_ns) if status.st_size <= READ else UNKNOWN
    except (OSError, DataError):  # said in full when the text is checked before a run
        return UNKNOWN


@lru_cache(maxsize=8)
def counted(path: str, changed: int = 0) -> Facts:
    """Facts of the text at `path` as it was `changed` last. Raises DataError."""
    loaded = corpus.load(path)
    lines = [corpus.tokens(text) for pair in loaded.train for text in pair]
    held = [corpus.tokens(text) for pair in loaded.held_out for text in pair]
    return Facts(
        len(loaded.train),
        len(loaded.held_out),
        len({word for line in lines for word in line}),
        max(map(len, lines + held), default=0),
    )
