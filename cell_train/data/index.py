"""Where each text of a source lies, found in one pass and kept in the cache under its content.

The pass holds one text at a time; what remains of it is 22 bytes a text on disk, those to train on
first, so that each side of the split is a slice of one map.
"""

import errno
import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cell_train import cache
from cell_train.data import prose, tokenizer
from cell_train.data.formats import Columns, Reader
from cell_train.errors import DataError

FORMAT = 4  # of the cached files; another one when `words.tokens` or ENTRY changes
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
MAX_MARKDOWN = 1 << 24  # characters of a Markdown file that are read
CHUNK = 1 << 16  # entries, or bytes of unpacked text, handled at once
COMPARED = 1 << 19  # digests looked through for equal ones at once
PASSES = 64  # over all entries for that; where they are not enough, more digests at once
SPOOLED = 1 << 24  # bytes; more of what is needed on the way lies on disk
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT))
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
    """Read all of a source. Raises DataError where `reader` does, and where room is missing."""
    with _spooled() as stream:
        counts = write(stream, reader, elsewhere)
        stream.flush()
        count = counts.train + counts.held_out
        begin = stream.tell() - count * ENTRY.itemsize
        if begin + count * ENTRY.itemsize > SPOOLED:
            return Index(np.memmap(stream, ENTRY, "r", begin, (count,)), counts)
        stream.seek(begin)
        return Index(np.frombuffer(stream.read(), ENTRY), counts)


@contextmanager
def _spooled(folder: Path | None = None) -> Iterator[BinaryIO]:
    """A file in memory, which moves to `folder` or the temporary one where it gets large.

    Raises DataError naming the temporary folder where that has no room.
    """
    try:
        with tempfile.SpooledTemporaryFile(SPOOLED, dir=str(folder) if folder else None) as stream:
            yield stream  # type: ignore[misc]
    except OSError as error:
        where = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")  # tried, or asked for
        of_it = error.filename is None or Path(error.filename).parent == Path(str(where))
        if folder is not None or not of_it or error.errno not in FULL:
            raise
        raise DataError(
            f"{where}: the index of a large text finds no room there ({error.strerror}); make"
            " room, or set TMPDIR to another folder"
        ) from error


def of_file(
    path: Path, columns: Columns, reader: Reader, elsewhere: Elsewhere | None = None
) -> Index:
    """The index of a file, from the cache where one of the same content was made before."""
    with suppress(OSError):  # an index that cannot be kept is made again next time
        state = _state(path)
        entries = _place(path, f"{columns} {_sha256(path)}", ".npy", elsewhere)
        with cache.alone(entries):
            if cache.facts(entries) is None:
                _forget(entries)
                cache.keep(entries, lambda stream: _fill(stream, path, state, reader, elsewhere))
            with suppress(ValueError, TypeError, KeyError):
                counts = Counts(**(cache.facts(entries) or {})["counts"])
                return Index(np.load(entries, mmap_mode="r", allow_pickle=False), counts)
    return build(reader, elsewhere)


def _fill(
    stream: BinaryIO, path: Path, state: object, reader: Reader, elsewhere: Elsewhere | None
) -> dict[str, Any]:
    counts = write(stream, reader, elsewhere, cache.room("text"))
    _unchanged(path, state)
    return {"path": os.fsencode(path).decode(errors="backslashreplace"), "counts": asdict(counts)}


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
    with _spooled(folder) as every:  # /tmp may be memory
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
    state = _state(path)
    target = _derived(path, "unpacked", Path(path.stem).suffix, "unpack it yourself")
    if cache.facts(target) is not None:
        return target
    _forget(target)
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
        _unchanged(path, state)

    try:
        cache.keep(target, unpack)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: is no whole gzip file, it breaks off or is damaged after {done} bytes of"
            f" text ({error}); get it anew"
        ) from error
    return target


def sentences(path: Path, markdown: bool) -> Path:
    """The sentences of a file of running text, one a line, as a file in the cache.

    Raises DataError where it is not UTF-8 or there is no cache, OSError as the file system does.
    """
    state = _state(path)
    target = _derived(path, "sentences", ".txt", "write a sentence a line and set data.split=lines")
    if cache.facts(target) is not None:
        return target
    _forget(target)

    def write(stream: BinaryIO) -> None:
        with path.open(encoding="utf-8-sig") as text:
            lines = prose.plain(text.read(MAX_MARKDOWN)) if markdown else iter(text)
            for sentence in prose.sentences(lines):
                stream.write(f"{sentence}\n".encode())
        _unchanged(path, state)

    try:
        cache.keep(target, write)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    return target


def _derived(path: Path, what: str, suffix: str, otherwise: str) -> Path:
    """Where in the cache lies what was made of a file. Raises DataError where there is no cache."""
    try:
        return _place(path, f"{what} {_sha256(path)}", suffix)
    except cache.NoRoom as error:
        raise DataError(
            f"{path}: there is no cache for its {what} text ({error.strerror}); set XDG_CACHE_HOME"
            f" to a folder of your own, or {otherwise}"
        ) from None


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


def _place(path: Path, state: str, suffix: str, elsewhere: Elsewhere | None = None) -> Path:
    """A file's place in the cache; another one whenever it, or what is held out of it, changes."""
    named, held = os.fsencode(path.absolute()), ""
    if elsewhere is not None:
        named += b"\0" + os.fsencode(elsewhere.source)
        held = hashlib.blake2b(elsewhere.digests.tobytes(), digest_size=8).hexdigest()
    name = hashlib.blake2b(named, digest_size=8).hexdigest()
    version = hashlib.blake2b(f"{FORMAT} {state} {held}".encode(), digest_size=16).hexdigest()
    return cache.room("text", make=True) / f"{name}-{version}{suffix}"


def _forget(target: Path) -> None:
    """Remove what was made of the same file before."""
    name, _, _ = target.name.partition("-")
    for old in target.parent.glob(f"{name}-*{target.suffix}"):
        for one in (old.with_suffix(".json"), old):
            one.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _unchanged(path: Path, state: object) -> None:
    """Raise OSError where a file was written while it was read: nothing is kept of it then."""
    if _state(path) != state:
        raise OSError(errno.EAGAIN, "was changed while it was read", str(path))
