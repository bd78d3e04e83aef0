"""Text from a file or built in: read, checked, split. No torch here, so that the command line
can refuse a bad file before a stage starts."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cell_train.errors import DataError
from cell_train.tasks.text import builtin

BUILT_IN = {
    "builtin": lambda: [(text, text) for text in builtin.sentences(12_000, seed=0)],
    "builtin:pairs": lambda: builtin.pairs(3_000, seed=0),
}
MAX_LINE = 1 << 20  # bytes; beyond it, it is no sentence but a file without line ends
MAX_FILE = 1 << 30  # bytes; the text is held in memory, several times over
HELD_OUT_SHARE = 10  # one text in so many is held out
TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")

Pair = tuple[str, str]
"""(what goes in, what should come out); the same text twice for autoencoding."""


@dataclass(frozen=True)
class Corpus:
    train: list[Pair]  # in the file's order, so that a dataset_limit takes the first ones
    held_out: list[Pair]
    duplicates: int


def tokens(text: str) -> list[str]:
    """Lower-case words of any script and single punctuation marks or symbols."""
    return TOKEN.findall(text.lower())


def load(path: str) -> Corpus:
    """Read `path` (`builtin`, `builtin:pairs`, .txt or .jsonl) and split it.

    Which side a text falls on depends on the text alone, so that it never changes sides when the
    file or the limit grows. Raises DataError naming the file and line.
    """
    pairs = BUILT_IN[path]() if path in BUILT_IN else list(_read(Path(path)))
    unique = list({_key(source): (source, target) for source, target in reversed(pairs)}.values())
    unique.reverse()
    train = [pair for pair in unique if not _is_held_out(pair[0])]
    held_out = [pair for pair in unique if _is_held_out(pair[0])]
    return Corpus(train, held_out, duplicates=len(pairs) - len(unique))


def check(path: str, batch_size: int) -> None:
    """Raise DataError unless `path` holds enough to train on and to hold out."""
    corpus = load(path)
    found = f"{path}: {len(corpus.train) + len(corpus.held_out)} different texts"
    if len(corpus.train) < batch_size:
        raise DataError(
            f"{found}, {len(corpus.train)} of them to train on, are fewer than one batch"
            f" (batch_size {batch_size}); add text or set batch_size={max(len(corpus.train), 1)}"
        )
    if not corpus.held_out:
        raise DataError(f"{found}, none of which falls into the held-out tenth; add text")


def _read(path: Path) -> Iterator[Pair]:
    if path.suffix not in (".txt", ".jsonl"):
        raise DataError(
            f"{path}: data.path takes builtin, builtin:pairs, a .txt file (a sentence a line)"
            f" or a .jsonl file, not {path.suffix or 'a file without suffix'!r}"
        )
    try:
        _check_size(path)
        with path.open("rb") as stream:
            empty = True
            for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), 1):
                pair = _parse(path, number, raw)
                if pair is not None:
                    empty = False
                    yield pair
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check data.path") from error
    if empty:
        raise DataError(f"{path}: holds no text; it needs one sentence a line")


def _check_size(path: Path) -> None:
    """Raise DataError for what is no file, or too large a one."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no file; data.path names one file of text")
    size = path.stat().st_size
    if size > MAX_FILE:
        raise DataError(
            f"{path}: has {size / 2**30:.1f} GiB, at most {MAX_FILE >> 30} GiB can be read;"
            " give a part of it"
        )


def _parse(path: Path, number: int, raw: bytes) -> Pair | None:
    if len(raw) > MAX_LINE:
        raise DataError(
            f"{path}:{number}: a line longer than {MAX_LINE >> 20} MiB; write one text a line"
        )
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}:{error.start + 1}: byte 0x{raw[error.start]:02x} is not UTF-8;"
            " save the file as UTF-8"
        ) from error
    if "\0" in line:
        raise DataError(f"{path}:{number}: a NUL byte; is this a text file?")
    if not line:
        return None
    if path.suffix == ".jsonl":
        source, target = _parse_json(path, number, line)
    else:
        source = target = line
    if not tokens(source) or not tokens(target):
        return None
    return source, target


def _parse_json(path: Path, number: int, line: str) -> Pair:
    wants = '{"text": ...} or {"text": ..., "reply": ...}'
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not JSON ({error}); a line is {wants}") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise DataError(f"{path}:{number}: no string under 'text'; a line is {wants}")
    reply = record.get("reply", record["text"])
    if not isinstance(reply, str):
        raise DataError(f"{path}:{number}: 'reply' is not a string; a line is {wants}")
    return record["text"], reply


def _key(text: str) -> str:
    """What makes two texts one: their tokens."""
    return " ".join(tokens(text))


def _is_held_out(text: str) -> bool:
    digest = hashlib.blake2b(_key(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_SHARE == 0
