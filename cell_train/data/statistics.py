"""How much text there is, for a plan: no torch here, and no long reading."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cell_train.config.schema import Data
from cell_train.errors import ConfigError

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


def facts(data: Data) -> Facts:
    """Of the built-in texts as counted once, of small files as counted now, else unknown."""
    if data.path in BUILT_IN and data.held_out_path is None:
        return BUILT_IN[data.path]
    try:
        files = [Path(name).stat() for name in (data.path, data.held_out_path) if name]
        if sum(file.st_size for file in files) > READ:
            return UNKNOWN
        columns = data.text_column, data.reply_column, data.split
        changed = tuple(file.st_mtime_ns for file in files)
        return counted(data.path, columns, data.held_out_path, changed)
    except (OSError, ConfigError):  # said in full when the text is checked before a run
        return UNKNOWN


@lru_cache(maxsize=8)
def counted(
    path: str,
    columns: tuple[str, str | None, str] = ("text", None, "auto"),
    held_out_path: str | None = None,
    changed: tuple[int, ...] = (),
) -> Facts:
    """Facts of the texts as they were `changed` last. Raises DataError."""
    from cell_train.data import corpus  # late: numpy takes as long as the rest of a plan
    from cell_train.data.formats import Columns
    from cell_train.data.tokenizer import tokens

    loaded = corpus.load(path, Columns(*columns), held_out_path)
    words = {word for pair in loaded.train for text in pair for word in tokens(text)}
    longest = max(
        (int(part.entries["words"].max(initial=0)) for part in (loaded.train, loaded.held_out)),
        default=0,
    )
    return Facts(len(loaded.train), len(loaded.held_out), len(words), longest)
