"""Files of text: read from end to end once, then a text at a time by where it lies.

What is wrong with a file is one sentence with its name and line. No torch here: the command line
reads text too, to refuse a bad file before a stage starts.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cell_train import invocation
from cell_train.data import builtin
from cell_train.data.prose import MARKDOWN
from cell_train.errors import DataError

MAX_LINE = 1 << 20  # bytes; beyond it, it is no sentence but a file without line ends
CHUNK, SHORT = 1 << 16, 1 << 12  # bytes read at once: of a whole file, and for one text

Pair = tuple[str, str]
"""(what goes in, what should come out); the same text twice for autoencoding."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table, or keys of an object, hold the text and its reply; and how a file
    without either is taken apart."""

    text: str = "text"
    reply: str | None = None  # None: `reply`, where there is one; else the text is its own target
    split: str = "auto"  # a .txt file is a text a line (lines), running text (sentences), or either


@dataclass(frozen=True)
class Record:
    """A text where it lies: at `place`, which `Reader.at` takes; `where` is for people."""

    place: int
    where: str
    pair: Pair | None  # None: empty


@dataclass(frozen=True)
class Reader:
    """A source of text: all of it in order, or one text by its place."""

    records: Callable[[], Iterator[Record]]
    at: Callable[[int], Pair]
    running: bool = False  # its texts are the sentences of running text


BUILT_IN: dict[str, Callable[[], list[Pair]]] = {
    "builtin": lambda: [(text, text) for text in builtin.sentences(12_000, seed=0)],
    "builtin:pairs": lambda: builtin.pairs(3_000, seed=0),
}
TABLES = (".csv", ".tsv")
SUFFIXES = (".txt", *MARKDOWN, ".jsonl", *TABLES)


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE  # a .tsv file knows no quotes


def built_in(name: str) -> Reader:
    return in_memory(name, BUILT_IN[name]())


def in_memory(name: str, pairs: Sequence[Pair]) -> Reader:
    def records() -> Iterator[Record]:
        for place, pair in enumerate(pairs):
            yield Record(place, f"{name}, text {place + 1}", pair)

    return Reader(records, pairs.__getitem__)


def lines(path: Path, shown: str, columns: Columns) -> Reader:
    """A text a line, or a JSON object a line; `shown` is what messages call the file."""
    as_json = path.suffix.lower() == ".jsonl"

    def parse(where: str, line: str) -> Pair | None:
        line = line.strip()
        if not line:
            return None
        return _object(where, line, columns) if as_json else (line, line)

    def records() -> Iterator[Record]:
        place = 0
        with path.open("rb") as stream:
            for number, raw in enumerate(split(stream), 1):
                where = f"{shown}:{number}"
                yield Record(place, where, parse(where, _decode(where, raw, place == 0)))
                place += len(raw)

    stream = _opened_late(path)

    def at(place: int) -> Pair:
        stream().seek(place)
        where = f"{shown}, byte {place}"
        raw = next(split(stream(), SHORT), b"")
        return _there(where, parse(where, _decode(where, raw, place == 0)))

    return Reader(records, at)


def table(path: Path, shown: str, columns: Columns) -> Reader:
    """A .csv or .tsv file whose first line names its columns."""
    dialect = csv.excel if path.suffix.lower() == ".csv" else _Tabs

    def rows(stream: BinaryIO, where: str, place: int, number: int) -> Iterator[tuple[Any, ...]]:
        """(place, line number, cells) of the rows from `place` on; a row may span lines."""
        position, line = place, number

        def texts() -> Iterator[str]:
            nonlocal position, line
            for raw in split(stream, SHORT if place else CHUNK):
                text = _decode(f"{where}:{line}", raw, position == 0)
                position, line = position + len(raw), line + 1
                yield text

        stream.seek(place)
        reader = csv.reader(texts(), dialect, strict=True)
        while True:
            start, first = position, line
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{where}:{first}: this row cannot be read ({error}); is a quote left open?"
                ) from error
            if cells is None:
                return
            yield start, first, cells

    def open_at_rows(stream: BinaryIO) -> tuple[list[str], int, int]:
        """(the columns' names, where the rows begin, at which line)."""
        begin = rows(stream, shown, 0, 1)
        _, _, names = next(begin, (0, 1, []))
        second = next(begin, None)
        end = path.stat().st_size
        return names, *((second[0], second[1]) if second else (end, 2))

    def pick(where: str, names: list[str], cells: list[str]) -> Pair | None:
        if not any(cells):
            return None
        if len(cells) != len(names):
            raise DataError(
                f"{where}: this row has {len(cells)} columns, the first line names {len(names)}"
            )
        return _choose(where, dict(zip(names, cells, strict=True)), columns)

    def records() -> Iterator[Record]:
        with path.open("rb") as stream:
            names, begin, number = open_at_rows(stream)
            _check_columns(f"{shown}:1", names, columns)
            for place, line, cells in rows(stream, shown, begin, number):
                yield Record(place, f"{shown}:{line}", pick(f"{shown}:{line}", names, cells))

    stream = _opened_late(path)
    known: list[list[str]] = []  # the columns' names, once they are read

    def at(place: int) -> Pair:
        if not known:
            known.append(open_at_rows(stream())[0])
        where = f"{shown}, byte {place}"
        cells = next(rows(stream(), where, place, 1), (0, 0, []))[2]
        return _there(where, pick(where, known[0], cells))

    return Reader(records, at)


def hugging_face(name: str, columns: Columns) -> Reader:
    """`NAME[:SPLIT]` of the `datasets` package: a data set of the hub, or a folder.

    Raises DataError where the extra is missing or the data set cannot be loaded.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"data.path=hf:{name} needs the extra 'datasets':"
            f" {invocation.pip_install('celltrain[datasets]')}"
        ) from None
    path, _, split = name.partition(":")
    saved = any((Path(path) / file).is_file() for file in ("state.json", "dataset_dict.json"))
    try:
        found = datasets.load_from_disk(path) if saved else datasets.load_dataset(path)
        if isinstance(found, dict):
            found = found[split or "train"]
    except Exception as error:  # whatever files, hub and network make it raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"data.path=hf:{name}: cannot be loaded ({reason})") from error
    _check_columns(f"hf:{name}", list(found.column_names), columns)

    def pick(place: int, row: dict[str, Any]) -> Pair | None:
        return _choose(f"hf:{name}, row {place}", row, columns)

    def records() -> Iterator[Record]:
        for place, row in enumerate(found):
            yield Record(place, f"hf:{name}, row {place}", pick(place, row))

    return Reader(
        records, lambda place: _there(f"hf:{name}, row {place}", pick(place, found[place]))
    )


def _opened_late(path: Path) -> Callable[[], BinaryIO]:
    """The file, opened when first asked for and from then on kept open."""
    opened: list[BinaryIO] = []

    def stream() -> BinaryIO:
        if not opened:
            opened.append(path.open("rb"))
        return opened[0]

    return stream


def split(stream: BinaryIO, size: int = CHUNK) -> Iterator[bytes]:
    r"""Lines from where a stream stands, with their ends: \n, \r\n, or \r alone as on old Macs.

    `size` is how much is read at first. A line longer than MAX_LINE comes as its beginning.
    """
    rest = b""
    while chunk := stream.read(size):
        *whole, rest = (rest + chunk).splitlines(keepends=True)
        yield from whole
        if rest.endswith(b"\n"):
            yield rest
            rest = b""
        elif len(rest) > MAX_LINE:  # its end may be a \r whose \n is still to come
            yield rest[: MAX_LINE + 1]
            return
        size = min(2 * size, CHUNK)
    if rest:
        yield rest


def _decode(where: str, raw: bytes, first: bool) -> str:
    if len(raw) > MAX_LINE:
        raise DataError(f"{where}: a line longer than {MAX_LINE >> 20} MiB; write one text a line")
    try:
        line = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}:{error.start + 1}: byte 0x{raw[error.start]:02x} is not UTF-8;"
            " save the file as UTF-8"
        ) from error
    if "\0" in line:
        raise DataError(f"{where}: a NUL byte; is this a text file?")
    return line


def _object(where: str, line: str, columns: Columns) -> Pair | None:
    try:
        record = json.loads(line, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        wants = '{"text": ...} or {"text": ..., "reply": ...}'
        raise DataError(f"{where}: not JSON ({error}); a line is {wants}") from error
    if not isinstance(record, _Object):
        raise DataError(f"{where}: no JSON object with {columns.text!r}")
    _check_columns(where, record.names, columns)
    return _choose(where, record, columns)


class _Object(dict[str, Any]):
    """A JSON object that knows its keys as they were written, also one written twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _check_columns(where: str, names: Sequence[str], columns: Columns) -> None:
    for wanted in (columns.text, columns.reply or "reply"):
        if names.count(wanted) > 1:
            raise DataError(
                f"{where}: {names.count(wanted)} columns are called {wanted!r}; rename those not"
                " meant"
            )
    for key, name in (("text", columns.text), ("reply", columns.reply)):
        if name is not None and name not in names:
            there = ", ".join(repr(str(each)[:40]) for each in names[:12]) or "none"
            raise DataError(
                f"{where}: no column {name!r}, there are {there};"
                f" name the one with the {key} by data.{key}_column=NAME"
            )


def _choose(where: str, row: dict[str, Any], columns: Columns) -> Pair | None:
    """The text and its reply, of a row that has the columns asked for."""
    text = row[columns.text]
    reply = row.get(columns.reply or "reply", text)
    for name, value in ((columns.text, text), (columns.reply or "reply", reply)):
        if not isinstance(value, str):
            raise DataError(f"{where}: {name!r} is {str(value)[:40]!r}, which is no text")
        if len(value) > MAX_LINE:
            raise DataError(f"{where}: {name!r} is longer than {MAX_LINE >> 20} Mi characters")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise DataError(f"{where}: {name!r} holds a NUL or half a character; is this text?")
    return (text, reply) if text.strip() and reply.strip() else None


def _there(where: str, pair: Pair | None) -> Pair:
    """A pair that an index has promised."""
    if pair is None:
        raise DataError(f"{where}: no text there any more; the file was changed while it was read")
    return pair
