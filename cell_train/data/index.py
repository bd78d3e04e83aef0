"""Where each text of a source lies, found in one pass and kept in the cache folder.

The pass holds one text at a time; what remains of it is 22 bytes a text on disk, those to train on
first, so that each side of the split is a slice of one map.
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
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cell_train import storage
from cell_train.data import tokenizer
from cell_train.data.formats import Columns, Reader
from cell_train.errors import DataError
from cell_train.storage import read_json, write_atomically, write_text

FORMAT = 2  # of the cached files; another one when `words.tokens` or ENTRY changes
ENTRY = np.dtype(
    [
        ("place", "<i8"),  # what Reader.at takes
        ("row", "<u4"),  # how many texts lie before it in the source, duplicates included
        ("digest", "<u8"),  # of the text's words; which side of the split it is on, and no other
        ("words", "<u2"),  # of the longer of text and reply
    ]
)
HELD_OUT_SHARE = 10  # one text in so many is held out
MAX_BYTES = 16 << 30  # of a file, unpacked
CHUNK = 1 << 16  # entries, or bytes of unpacked text, handled at once
COMPARED = 1 << 19  # digests looked through for equal ones at once
PASSES = 64  # over all entries for that; where they are not enough, more digests at once
LONGEST = np.iinfo(np.uint16).max
LEFT_OUT, TRAIN, HELD_OUT = range(3)  # where a text goes


@dataclass
class Counts:
    """What the pass has seen."""

    texts: int = 0  # empty ones left out, duplicates included
    pairs: int = 0  # texts that have a reply of their own
    empty: int = 0
    first_empty: str = ""
    longest: int = 0  # words
    longest_at: str = ""
    train: int = 0  # different texts to train on
    held_out: int = 0
    leaked: int = 0  # different texts left out because they are held out elsewhere

    @property
    def duplicates(self) -> int:
        return self.texts - self.train - self.held_out - self.leaked


@dataclass(frozen=True)
class Elsewhere:
    """Texts of another source that are held out instead of a tenth of this one."""

    source: str
    digests: NDArray[np.uint64]


NOWHERE = Elsewhere("", np.empty(0, np.uint64))  # all texts are on one side


@dataclass(frozen=True)
class Index:
    """Of equal texts the first: those to train on, then those held out, as the source has them."""

    entries: NDArray[np.void]  # ENTRY, mapped
    counts: Counts

    @property
    def train(self) -> NDArray[np.void]:
        return self.entries[: self.counts.train]

    @property
    def held_out(self) -> NDArray[np.void]:
        return self.entries[self.counts.train :]


def digest(said: list[str]) -> int:
    """Of what makes two texts one: their words."""
    key = " ".join(said).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def build(reader: Reader, elsewhere: Elsewhere | None = None) -> Index:
    """Read all of a source. Raises DataError where `reader` does."""
    with tempfile.TemporaryFile() as stream:
        counts = write(stream, reader, elsewhere)
        stream.flush()
        count = counts.train + counts.held_out
        if not count:
            return Index(np.empty(0, ENTRY), counts)
        begin = stream.tell() - count * ENTRY.itemsize
        return Index(np.memmap(stream, ENTRY, "r", begin, (count,)), counts)


def of_file(
    path: Path, columns: Columns, reader: Reader, elsewhere: Elsewhere | None = None
) -> Index:
    """The index of a file, from the cache where the file is as it was when that was made."""
    entries, facts = (_cached(path, columns, suffix, elsewhere) for suffix in (".npy", ".json"))

    def kept() -> Index:
        counts = Counts(**(read_json(facts) or {})["counts"])
        return Index(np.load(entries, mmap_mode="r", allow_pickle=False), counts)

    with suppress(OSError, ValueError, TypeError, KeyError):
        return kept()
    counts = Counts()

    def fill(stream: BinaryIO) -> None:
        nonlocal counts
        counts = write(stream, reader, elsewhere, entries.parent)

    with suppress(OSError):  # an index that cannot be kept is made again next time
        for target in (entries, facts):
            _make_room(target)
        write_atomically(entries, fill)
        write_text(facts, json.dumps({"path": str(path), "counts": asdict(counts)}) + "\n")
        return kept()
    return build(reader, elsewhere)


def write(
    stream: BinaryIO,
    reader: Reader,
    elsewhere: Elsewhere | None = None,
    folder: Path | None = None,
) -> Counts:
    """Read all of a source and write what Index.entries holds as a .npy file.

    What it needs on the way, as much again, lies in `folder` on disk; in memory, a byte a text.
    """
    counts = Counts()
    with tempfile.TemporaryFile(dir=folder) as every:  # /tmp may be memory
        entries = _entries(reader, counts)
        while len(chunk := np.fromiter(islice(entries, CHUNK), ENTRY)):
            every.write(chunk.tobytes())
        every.flush()
        sides = _sides(every, counts.texts, elsewhere)
        counts.train, counts.held_out = (int((sides == side).sum()) for side in (TRAIN, HELD_OUT))
        if elsewhere is not None:
            counts.leaked = counts.held_out
            counts.held_out = 0
        shape = (counts.train + counts.held_out,)
        npy.write_array_header_1_0(
            stream, {"descr": ENTRY.descr, "fortran_order": False, "shape": shape}
        )
        for side in (TRAIN, HELD_OUT) if elsewhere is None else (TRAIN,):
            for first, chunk in _chunks(every):
                stream.write(chunk[sides[first : first + len(chunk)] == side].tobytes())
    return counts


def _sides(every: BinaryIO, texts: int, elsewhere: Elsewhere | None) -> NDArray[np.uint8]:
    """Where each text goes: of equal ones the first to its side, the others nowhere."""
    sides = np.full(texts, LEFT_OUT, np.uint8)
    groups = min(texts // COMPARED + 1, PASSES)  # equal texts are in the same one
    for group in range(groups):
        digests, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for first, chunk in _chunks(every):
            inside = np.flatnonzero(chunk["digest"] % groups == group)
            digests.append(chunk["digest"][inside])
            rows.append(first + inside)
        different, places = np.unique(np.concatenate(digests), return_index=True)
        held = (
            different % HELD_OUT_SHARE == 0
            if elsewhere is None
            else np.isin(different, elsewhere.digests)
        )
        sides[np.concatenate(rows)[places]] = np.where(held, HELD_OUT, TRAIN)
    return sides


def _chunks(every: BinaryIO) -> Iterator[tuple[int, NDArray[np.void]]]:
    """(how many lie before, entries): read rather than mapped, so that none stays in memory."""
    every.seek(0)
    first = 0
    while len(chunk := np.frombuffer(every.read(CHUNK * ENTRY.itemsize), ENTRY)):
        yield first, chunk
        first += len(chunk)


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

    def unpack(stream: BinaryIO) -> None:
        nonlocal done
        with gzip.open(path) as packed:
            for part in iter(lambda: packed.read(CHUNK), b""):
                done += len(part)
                if done > limit:
                    raise DataError(
                        f"{path}: unpacks to more than {limit / 2**30:.1f} GiB, half of what"
                        f" {target.parent} has room for, or 16; give a part of it"
                    )
                stream.write(part)

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
        said = tokenizer.tokens(source)
        if not said:
            counts.empty += 1
            counts.first_empty = counts.first_empty or record.where
            continue
        length = len(said)
        if target != source:
            counts.pairs += 1
            length = max(length, len(tokenizer.tokens(target)))
        if length > counts.longest:
            counts.longest, counts.longest_at = length, record.where
        yield record.place, counts.texts, digest(said), min(length, LONGEST)
        counts.texts += 1


def _cached(path: Path, columns: Columns, suffix: str, elsewhere: Elsewhere | None = None) -> Path:
    """A file's place in the cache; another one whenever it, or what is held out of it, changes."""
    facts = path.stat()
    named, held = str(path.absolute()), ""
    if elsewhere is not None:
        named += f"\0{elsewhere.source}"
        held = hashlib.blake2b(elsewhere.digests.tobytes(), digest_size=8).hexdigest()
    name = hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
    state = f"{FORMAT} {columns} {held} {facts.st_size} {facts.st_mtime_ns}"
    version = hashlib.blake2b(state.encode(), digest_size=8).hexdigest()
    return storage.cache_folder() / "text" / f"{name}-{version}{suffix}"


def _make_room(target: Path) -> None:
    """Make the cache's folder, and remove there what was made of the same file before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name, _, _ = target.name.partition("-")
    for old in target.parent.glob(f"{name}-*{target.suffix}"):
        old.unlink(missing_ok=True)
