"""A corpus: texts to train on and texts held out, read as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cell_train.config.schema import Data
from cell_train.data import formats, index, prose
from cell_train.data.formats import BUILT_IN, Columns, Pair, Reader
from cell_train.data.index import Counts, Elsewhere, Index
from cell_train.errors import DataError

HUGGING_FACE = "hf:"


@dataclass(frozen=True)
class Texts:
    """Some texts of a source, in its order; each is read when it is asked for."""

    reader: Reader
    entries: NDArray[np.void]  # index.ENTRY

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, position: int) -> Pair:
        return self.reader.at(int(self.entries["place"][position]))

    def __iter__(self) -> Iterator[Pair]:
        return (self.reader.at(place) for place in map(int, self.entries["place"]))

    def first(self, count: int) -> "Texts":
        return Texts(self.reader, self.entries[:count])


@dataclass(frozen=True)
class Corpus:
    running: bool  # data.path is running text, of which each sentence is a text
    train: Texts  # in the file's order, so that a dataset_limit takes the first ones
    held_out: Texts
    counts: Counts  # of data.path

    @property
    def paired(self) -> bool:
        """Whether texts have replies."""
        return self.counts.pairs > 0


def load(path: str, columns: Columns | None = None, held_out_path: str | None = None) -> Corpus:
    """Find the texts of `path` and split them.

    Which side a text falls on depends on the text alone, so that it never changes sides when the
    file or the limit grows. With `held_out_path` all texts there are held out, and no text of
    `path` is but those that are there too, which are left out. Raises DataError naming file and
    line.
    """
    columns = columns or Columns()
    elsewhere, other = None, None
    if held_out_path is not None:
        other_reader, other_found = _read(held_out_path, columns, index.NOWHERE)
        other = Texts(other_reader, other_found.train)
        elsewhere = index.Elsewhere(held_out_path, np.sort(other.entries["digest"]))
    reader, found = _read(path, columns, elsewhere)
    held_out = Texts(reader, found.held_out) if other is None else other
    return Corpus(reader.running, Texts(reader, found.train), held_out, found.counts)


def of(data: Data) -> Corpus:
    """The corpus a stage trains on."""
    return load(data.path, columns_of(data), data.held_out_path)


def columns_of(data: Data) -> Columns:
    return Columns(data.text_column, data.reply_column, data.split)


def _read(path: str, columns: Columns, elsewhere: Elsewhere | None) -> tuple[Reader, Index]:
    if path in BUILT_IN:
        reader = formats.built_in(path)
        return reader, index.build(reader, elsewhere)
    if path.startswith(HUGGING_FACE):
        reader = formats.hugging_face(path.removeprefix(HUGGING_FACE), columns)
        found = index.build(reader, elsewhere)
    else:
        reader, found = _read_file(Path(path), columns, elsewhere)
    if not found.counts.texts:
        raise DataError(f"{path}: holds no text; it needs one sentence a line")
    return reader, found


def _read_file(path: Path, columns: Columns, elsewhere: Elsewhere | None) -> tuple[Reader, Index]:
    packed = path.suffix.lower() == ".gz"
    suffix = (Path(path.stem) if packed else path).suffix.lower()
    if suffix not in formats.SUFFIXES:
        raise DataError(
            f"{path}: data.path takes builtin, builtin:pairs, hf:NAME or a file that ends in"
            f" {', '.join(formats.SUFFIXES)}, or one of these and .gz,"
            f" not {''.join(path.suffixes[-2:]) or 'a file without suffix'!r}"
        )
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no file; data.path names one file of text")
        size = path.stat().st_size
        if size > index.MAX_BYTES:
            raise DataError(
                f"{path}: has {size / 2**30:.1f} GiB, at most {index.MAX_BYTES >> 30} GiB can be"
                " read; give a part of it"
            )
        plain = index.unpacked(path) if packed else path
        reader = _reader(path, plain, suffix, columns)
        return reader, index.of_file(path, columns, reader, elsewhere)
    except OSError as error:
        where = error.filename or path
        raise DataError(f"{where}: cannot be read ({error.strerror}); check data.path") from error


def _reader(path: Path, plain: Path, suffix: str, columns: Columns) -> Reader:
    """The reader of a file by its suffix; `plain` is `path`, unpacked."""
    if suffix in formats.TABLES:
        return formats.table(plain, str(path), columns)
    if suffix != ".jsonl" and _is_running(plain, suffix, columns.split):
        taken_apart = index.sentences(plain, suffix in prose.MARKDOWN)
        found = formats.lines(taken_apart, f"{path}, sentence", columns)
        return replace(found, running=True)
    return formats.lines(plain, str(path), columns)


def _is_running(plain: Path, suffix: str, split: str) -> bool:
    if split != "auto":
        return split == "sentences"
    if suffix in prose.MARKDOWN:
        return True
    with plain.open(encoding="utf-8-sig", errors="replace") as stream:
        return prose.is_running_text(stream.read(prose.LOOKED_AT))
