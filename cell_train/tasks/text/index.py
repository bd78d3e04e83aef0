"""Where each text of a source lies, found in one pass and kept in the cache folder.

The pass holds one text at a time; what remains of it is 22 bytes a text, mapped into memory.
"""

import gzip
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cell_train import run_files
from cell_train.errors import DataError
from cell_train.run_files import read_json, write_atomically, write_text
from cell_train.tasks.text import words
from cell_train.tasks.text.formats import Columns, Reader

FORMAT = 1  # of the cached files; another one when `words.tokens` or ENTRY changes
ENTRY = np.dtype(
    [
        ("place", "<i8"),  # what Reader.at takes
        ("row", "<u4"),  # how many texts lie before it in the source, duplicates included
        ("digest", "<u8"),  # of the text's words; which side of the split it is on, and no other
        ("words", "<u2"),  # of the longer of text and reply
    ]
)
MAX_BYTES = 16 << 30  # of a file, unpacked
CHUNK = 1 << 16  # entries, or bytes of unpacked text, handled at once
LONGEST = np.iinfo(np.uint16).max


@dataclass
class Counts:
    """What the pass has seen."""

    texts: int = 0  # empty ones left out, duplicates included
    pairs: int = 0  # texts that have a reply of their own
    empty: int = 0
    first_empty: str = ""
    longest: int = 0  # words
    longest_at: str = ""


@dataclass(frozen=True)
class Index:
    entries: NDArray[np.void]  # ENTRY, the first of texts that are equal, in the source's order
    counts: Counts

    @property
    def duplicates(self) -> int:
        return self.counts.texts - len(self.entries)


def digest(said: list[str]) -> int:
    """Of what makes two texts one: their words."""
    key = " ".join(said).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def build(reader: Reader) -> Index:
    """Read all of a source. Raises DataError where `reader` does."""
    counts = Counts()
    with tempfile.TemporaryFile() as stream:
        chunk = np.empty(CHUNK, ENTRY)
        filled = 0
        for entry in _entries(reader, counts):
            chunk[filled] = entry
            filled += 1
            if filled == CHUNK:
                chunk.tofile(stream)
                filled = 0
        chunk[:filled].tofile(stream)
        stream.flush()
        if not counts.texts:
            return Index(np.empty(0, ENTRY), counts)
        entries = np.memmap(stream, ENTRY, "r")
        _, first = np.unique(entries["digest"], return_index=True)
        first.sort()
        return Index(entries[first], counts)


def of_file(path: Path, columns: Columns, reader: Reader) -> Index:
    """The index of a file, from the cache where the file is as it was when that was made."""
    entries, facts = _cached(path, columns, ".npy"), _cached(path, columns, ".json")
    with suppress(OSError, ValueError, TypeError, KeyError):
        counts = Counts(**(read_json(facts) or {})["counts"])
        return Index(np.load(entries, mmap_mode="r", allow_pickle=False), counts)
    index = build(reader)
    with suppress(OSError):  # an index that cannot be kept is made again next time
        for target in (entries, facts):
            _make_room(target)
        write_atomically(entries, lambda stream: np.save(stream, index.entries))
        write_text(facts, json.dumps({"path": str(path), "counts": asdict(index.counts)}) + "\n")
        return Index(np.load(entries, mmap_mode="r", allow_pickle=False), index.counts)
    return index


def unpacked(path: Path) -> Path:
    """A .gz file's text as a file in the cache: only there a text can be found by its place.

    Raises DataError where it is damaged or larger than the disk can take, OSError as the file
    system does.
    """
    target = _cached(path, Columns(), Path(path.stem).suffix)
    if target.is_file():
        return target
    _make_room(target)
    limit = min(MAX_BYTES, shutil.disk_usage(target.parent).free // 2)
    done = 0

    def unpack(stream: object) -> None:
        nonlocal done
        with gzip.open(path) as packed:
            for part in iter(lambda: packed.read(CHUNK), b""):
                done += len(part)
                if done > limit:
                    raise DataError(
                        f"{path}: unpacks to more than {limit / 2**30:.1f} GiB, half of what"
                        f" {target.parent} has room for, or 16; give a part of it"
                    )
                stream.write(part)  # type: ignore[attr-defined]

    try:
        write_atomically(target, unpack)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: is no whole gzip file, it breaks off or is damaged after {done} bytes of"
            f" text ({error}); get it anew"
        ) from error
    return target


def _entries(reader: Reader, counts: Counts) -> Iterator[tuple[int, int, int, int]]:
    for record in reader.records():
        source, target = record.pair or ("", "")
        said = words.tokens(source)
        if not said:
            counts.empty += 1
            counts.first_empty = counts.first_empty or record.where
            continue
        length = len(said)
        if target != source:
            counts.pairs += 1
            length = max(length, len(words.tokens(target)))
        if length > counts.longest:
            counts.longest, counts.longest_at = length, record.where
        yield record.place, counts.texts, digest(said), min(length, LONGEST)
        counts.texts += 1


def _cached(path: Path, columns: Columns, suffix: str) -> Path:
    """A file's place in the cache; another one whenever the file changes."""
    facts = path.stat()
    name = hashlib.blake2b(str(path.absolute()).encode(), digest_size=8).hexdigest()
    state = f"{FORMAT} {columns} {facts.st_size} {facts.st_mtime_ns}"
    version = hashlib.blake2b(state.encode(), digest_size=8).hexdigest()
    return run_files.cache_folder() / "text" / f"{name}-{version}{suffix}"


def _make_room(target: Path) -> None:
    """Make the cache's folder, and remove there what was made of the same file before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name, _, _ = target.name.partition("-")
    for old in target.parent.glob(f"{name}-*{target.suffix}"):
        old.unlink(missing_ok=True)
