"""A corpus: texts to train on and texts held out, read as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cell_train.config.schema import Data
from cell_train.data import formats, index
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
    return Corpus(Texts(reader, found.train), held_out, found.counts)


def of(data: Data) -> Corpus:
    """The corpus a stage trains on."""
    return load(data.path, Columns(data.text_column, data.reply_column), data.held_out_path)


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
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
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
        plain = index.unpacked(path) if path.suffix == ".gz" else path
        kind = formats.table if suffix in formats.TABLES else formats.lines
        reader = kind(plain, str(path), columns)
        return reader, index.of_file(path, columns, reader, elsewhere)
    except OSError as error:
        where = error.filename or path
        raise DataError(f"{where}: cannot be read ({error.strerror}); check data.path") from error
