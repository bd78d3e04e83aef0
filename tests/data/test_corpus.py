"""Files of text: read, split, indexed, and refused with a sentence."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import pytest

from cell_train.config.schema import Stage
from cell_train.data import builtin, corpus, formats, index, validation
from cell_train.data.formats import Columns, Reader
from cell_train.data.index import Counts
from cell_train.errors import DataError
from tests.conftest import Resolve

ROWS = [(f"Where is number {i}, please?", f'it is\nin "room" {i}') for i in range(60)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "celltrain" / "text"


@pytest.fixture
def stage(resolve_stages: Resolve, tmp_path: Path) -> "Stages":
    return Stages(resolve_stages)


class Stages:
    def __init__(self, resolve_stages: Resolve) -> None:
        self.resolve = resolve_stages

    def __call__(self, path: str, *words: str) -> Stage:
        return self.resolve("1", [f"data.path={path}", *words])[0].stage


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def table(comma: str, quoted: bool = True) -> str:
    lines = [comma.join(("id", "text", "reply"))]
    for i, (text, reply) in enumerate(ROWS):
        cells = [str(i), text, reply.replace('"', '""')] if quoted else [str(i), text, reply]
        lines.append(
            comma.join(f'"{cell}"' if quoted else cell.replace("\n", " ") for cell in cells)
        )
    return "\n".join(lines) + "\n"


def as_json(text: str = "text", reply: str = "reply") -> str:
    return "\n".join(json.dumps({text: a, reply: b}) for a, b in ROWS)


def test_a_text_never_changes_sides_as_the_file_grows(tmp_path: Path) -> None:
    lines = builtin.sentences(2000, seed=1)
    small = corpus.load(write(tmp_path / "small.txt", "\n".join(lines[:500])))
    large = corpus.load(write(tmp_path / "large.txt", "\n".join(lines)))
    assert {pair[0] for pair in small.held_out} <= {pair[0] for pair in large.held_out}
    assert not {pair[0] for pair in large.train} & {pair[0] for pair in large.held_out}
    assert len(large.held_out) == pytest.approx(200, abs=50)
    assert list(large.train.first(len(small.train))) == list(small.train)
    assert len(large.train) + len(large.held_out) == 2000


def test_texts_equal_up_to_case_and_spaces_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "d.txt", "A dog barks .\nThe cat sleeps .\na  dog barks.\n\n")
    loaded = corpus.load(path)
    assert loaded.counts.duplicates == 1
    assert {*loaded.train, *loaded.held_out} == {
        ("A dog barks .", "A dog barks ."),
        ("The cat sleeps .", "The cat sleeps ."),
    }


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", "\ufeff" + table(",")),
        ("d.tsv", table("\t", quoted=False)),
        ("d.jsonl", as_json()),
    ],
)
def test_every_format_gives_the_same_pairs(
    tmp_path: Path, name: str, content: str, packed: bool
) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    loaded = corpus.load(write(path, gzip.compress(content.encode()) if packed else content))
    wanted = [(a, b.replace("\n", " ")) if ".tsv" in name else (a, b) for a, b in ROWS]
    assert sorted([*loaded.train, *loaded.held_out]) == sorted(wanted)
    assert loaded.paired
    again = corpus.load(str(path))  # from the index in the cache
    assert list(again.train) == list(loaded.train)


def test_columns_have_the_names_they_are_given(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", as_json("frage", "antwort"))
    swapped = corpus.load(path, Columns("antwort", "frage"))
    assert (ROWS[0][1], ROWS[0][0]) in [*swapped.train, *swapped.held_out]
    alone = corpus.load(path, Columns("frage"))
    assert not alone.paired
    assert (ROWS[0][0], ROWS[0][0]) in [*alone.train, *alone.held_out]


def test_an_index_is_made_once_and_again_when_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "d.txt", "one dog\ntwo cats\n")
    corpus.load(path)
    built: list[Reader] = []
    write_index = index.write

    def count(stream: BinaryIO, reader: Reader, *how: Any) -> Counts:
        built.append(reader)
        return write_index(stream, reader, *how)

    monkeypatch.setattr(index, "write", count)
    before = corpus.load(path)
    assert not built
    write(tmp_path / "d.txt", "one dog\ntwo cats\nthree owls\n")
    after = corpus.load(path)
    assert len(built) == 1
    assert len(after.train) + len(after.held_out) == 1 + len(before.train) + len(before.held_out)
    assert len(list(cache.glob("*.npy"))) == 1
    texts = list(after.train)
    for broken in cache.glob("*.npy"):
        broken.write_bytes(broken.read_bytes()[:40])
    assert list(corpus.load(path).train) == texts


def test_an_index_is_of_what_a_file_holds_not_of_its_size_and_time(tmp_path: Path) -> None:
    """Copies that keep the time (cp -p, rsync -a, tar) must not be taken for one another."""
    path = tmp_path / "text.txt"
    for word in ("one", "two"):
        lines = [f"{word} is number {i} of words" for i in range(60)]
        lines = [x + " xxxxx" if word == "two" and i % 2 else x for i, x in enumerate(lines)]
        lines = [x[:-6] if word == "two" and not i % 2 else x for i, x in enumerate(lines)]
        path.write_text("\n".join(lines))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        found = corpus.load(str(path))
        assert sorted(t for t, _ in (*found.train, *found.held_out)) == sorted(lines)


def test_a_file_that_changes_while_it_is_read_leaves_no_index(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"number {i}" for i in range(60)))
    write = index.write

    def written_meanwhile(stream: BinaryIO, *rest: Any) -> Counts:
        counts = write(stream, *rest)
        os.utime(path)
        return counts

    monkeypatch.setattr(index, "write", written_meanwhile)
    assert len(corpus.load(str(path)).train) > 40
    assert list(cache.glob("*.npy")) == []


@pytest.mark.parametrize("path", ["builtin", "text.txt"])
def test_no_temporary_folder_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "text.txt").write_text("\n".join(f"number {i}" for i in range(60)))
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # none either
    assert len(corpus.load(path).train) > 40


def test_where_a_large_index_finds_no_room_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SPOOLED", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone: the index .* no room there .*; make room, or set"):
        corpus.load("builtin")


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", write(tmp_path / "file", ""))
    loaded = corpus.load(write(tmp_path / "d.txt", "one dog\ntwo cats\n"))
    assert len(loaded.train) + len(loaded.held_out) == 2


def test_texts_of_a_separate_file_are_held_out_and_never_trained_on(tmp_path: Path) -> None:
    lines = builtin.sentences(300, seed=1)
    path = write(tmp_path / "train.txt", "\n".join(lines[:250]))
    test = write(tmp_path / "test.txt", "\n".join(line.upper() for line in lines[240:]))
    loaded = corpus.load(path, held_out_path=test)
    assert [text for text, _ in loaded.train] == lines[:240]
    assert [text for text, _ in loaded.held_out] == [line.upper() for line in lines[240:]]
    assert loaded.counts.leaked == 10


def grown(path: Path, read: str) -> int:
    """Bytes that a process grows by as it indexes `path`, in small parts, and does `read`."""
    code = f"""if True:
        import resource, sys
        from cell_train.data import corpus, index
        index.COMPARED, index.CHUNK = 1 << 14, 1 << 12
        corpus.load("builtin:pairs")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        loaded = corpus.load(sys.argv[1])
        {read}
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_memory_stays_bounded_while_a_large_file_is_indexed_and_read(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("w") as stream:
        for i in range(60_000):
            stream.write(f"sentence number {i} of the large file says {'nothing new ' * 30}.\n")
    assert path.stat().st_size > 20 << 20
    read = "assert max(len(text) for text, _ in loaded.train.first(20_000)) < 500"
    assert grown(path, read) < 5 << 20


def test_memory_does_not_grow_with_the_number_of_texts(tmp_path: Path) -> None:
    """A digest, a place and a row each would be 4 MB as arrays, and 30 as Python's numbers."""
    path = tmp_path / "many.txt"
    path.write_text("".join(f"text {i % 190_000}\n" for i in range(200_000)))
    read = "assert len(loaded.train) + len(loaded.held_out) == 190_000"
    assert grown(path, read) < 4 << 20


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", "", "holds no text"),
        ("blank.txt", "\n  \n", "holds no text"),
        ("latin.txt", "caf\xe9\n".encode("latin-1"), r"latin.txt:1:4: byte 0xe9 is not UTF-8"),
        ("wide.txt", "one\n".encode("utf-16"), r"wide.txt:1:1: byte 0xff is not UTF-8"),
        ("nul.txt", "one\ntwo\0three\n", r"nul.txt:2: a NUL byte"),
        ("few.txt", "one two\nthree four\n", "fewer than one batch"),
        ("same.txt", "one two\n" * 500, "1 different texts"),
        ("bad.jsonl", '{"text": "a"}\n{oops\n', r"bad.jsonl:2: not JSON"),
        ("list.jsonl", "[1]\n", r"list.jsonl:1: no JSON object with 'text'"),
        (
            "key.jsonl",
            '{"txt": "a"}\n',
            r"key.jsonl:1: no column 'text', there are 'txt'; .*text_col",
        ),
        ("int.jsonl", '{"text": 3}\n', r"int.jsonl:1: 'text' is '3', which is no text"),
        ("half.jsonl", '{"text": "\\ud800"}\n', r"half.jsonl:1: 'text' holds a NUL or half a char"),
        ("deep.jsonl", "[" * 100_000, r"deep.jsonl:1: not JSON"),
        ("table.xlsx", "x", "not '.xlsx'"),
        ("key.csv", "a,b\n1,2\n", r"key.csv:1: no column 'text', there are 'a', 'b'"),
        (
            "wide.csv",
            "id,text\n1,a\n2,b,c\n",
            r"wide.csv:3: this row has 3 columns, the first .* 2",
        ),
        ("open.csv", 'text\nx\n"a\n' + "b\n" * 99, r"open.csv:3: this row cannot be read .* quote"),
        ("latin.tsv", b"text\nok\n" + b"caf\xe9\n", r"latin.tsv:3:4: byte 0xe9 is not"),
        ("no.gz", "x", r"no.gz: data.path takes"),
        ("bad.txt.gz", "no gzip", r"bad.txt.gz: is no whole gzip file"),
        (
            "cut.txt.gz",
            gzip.compress(os.urandom(999).hex().encode())[:-99],
            r"cut.txt.gz: is no whole",
        ),
    ],
)
def test_a_bad_file_is_refused_with_one_located_sentence(
    tmp_path: Path, stage: Stages, name: str, content: str | bytes, says: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=says) as caught:
        validation.check(stage(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["", "  "], "d.txt:201: no text, one of 2 that are left out"),
        (["a b", "A  b"], "d.txt: 1 of 202 texts are there already"),
        (["w " * 10_000], "d.txt:201: 10000 words, the longest of 1 texts that are cut after"),
    ],
)
def test_what_is_left_out_or_cut_is_told(
    tmp_path: Path, stage: Stages, lines: list[str], note: str
) -> None:
    text = "\n".join([*builtin.sentences(200, seed=0), *lines])
    (said,) = validation.check(stage(write(tmp_path / "d.txt", text)))
    assert note in said


def test_a_file_that_is_no_text_is_named_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = write(tmp_path / "endless.txt", "a dog\n" + "x" * (formats.MAX_LINE + 1))
    with pytest.raises(DataError, match=r"endless\.txt:2: a line longer than 1 MiB"):
        corpus.load(endless)
    monkeypatch.setattr(index, "MAX_BYTES", 1 << 10)
    with pytest.raises(DataError, match="at most"):
        corpus.load(endless)
    bomb = write(tmp_path / "bomb.txt.gz", gzip.compress(b"a\n" * 10_000))
    with pytest.raises(DataError, match="unpacks to more than"):
        corpus.load(bomb)
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    for name in ("pipe.txt", "folder.txt"):
        with pytest.raises(DataError, match=f"{name}: is no file"):
            corpus.load(str(tmp_path / name))
    with pytest.raises(DataError, match=r"nowhere.txt: cannot be read \(No such file"):
        corpus.load(str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize("path", ["builtin", "builtin:pairs"])
def test_the_built_in_data_pass_their_own_check(stage: Stages, path: str) -> None:
    assert stage(path).data.path == path
    assert validation.check(stage(path)) == []


def test_a_data_set_needs_its_extra(stage: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the extra 'datasets': .*pip install"):
        validation.check(stage("hf:some/name"))


class _Rows(list[dict[str, str]]):
    column_names = ("text", "reply")


def test_a_data_set_gives_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in for the package: what is asked of it, and what is made of the answer."""
    rows = _Rows({"text": a, "reply": b} for a, b in ROWS)

    def load_dataset(name: str) -> dict[str, _Rows]:
        if name != "some/name":
            raise FileNotFoundError(f"no data set {name}\nand more")
        return {"train": rows, "test": _Rows(rows[:30])}

    package = ModuleType("datasets")
    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    loaded = corpus.load("hf:some/name")
    assert sorted([*loaded.train, *loaded.held_out]) == sorted(ROWS)
    smaller = corpus.load("hf:some/name:test")
    assert len(smaller.train) + len(smaller.held_out) == 30
    with pytest.raises(DataError, match=r"hf:other: cannot be loaded \(no data set other\)"):
        corpus.load("hf:other")
    with pytest.raises(DataError, match="no column 'wort'"):
        corpus.load("hf:some/name", Columns("wort"))


def test_a_local_data_set_loads_with_the_real_package(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list([{"text": a, "reply": b} for a, b in ROWS])
    made.save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    made.to_json(tmp_path / "files" / "train.jsonl")
    for folder in ("saved", "files"):
        loaded = corpus.load(f"hf:{tmp_path / folder}")
        assert sorted([*loaded.train, *loaded.held_out]) == sorted(ROWS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "mixed"])
@pytest.mark.parametrize("name", ["d.txt", "D.TXT", "d.Csv", "d.tsv", "d.JSONL", "d.txt.GZ"])
def test_lines_end_as_any_system_ends_them(tmp_path: Path, name: str, end: str) -> None:
    texts = [f"here is number {i} of them" for i in range(4000)]  # longer than what is read at once
    kind = name.lower().removesuffix(".gz").rpartition(".")[2]
    rows = [json.dumps({"text": text}) for text in texts] if kind == "jsonl" else texts
    rows = (["text"] if kind in ("csv", "tsv") else []) + rows
    ends = ["\n", "\r\n", "\r"] if end == "mixed" else [end]
    content = "".join(row + ends[i % len(ends)] for i, row in enumerate(rows)).encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("GZ") else content)
    loaded = corpus.load(path)
    assert sorted(text for text, _ in (*loaded.train, *loaded.held_out)) == sorted(texts)


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("d.csv", "text,label,text\na dog,1,b\n", "text"),
        ("d.csv", "text,reply,reply\na dog,1,b\n", "reply"),
        ("d.tsv", "text\ttext\na dog\tb\n", "text"),
        ("d.jsonl", '{"text": "a dog", "text": "b"}\n', "text"),
    ],
)
def test_two_columns_of_one_name_are_refused(
    tmp_path: Path, name: str, content: str, column: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=rf"{name}:1: 2 columns are called '{column}'"):
        corpus.load(path)


def test_columns_that_nobody_asked_for_may_have_one_name(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "text,,\n" + "".join(f"dog {i},1,2\n" for i in range(40)))
    assert corpus.load(path).counts.texts == 40


def test_a_held_out_file_that_holds_all_is_named_as_the_reason(
    tmp_path: Path, stage: Stages
) -> None:
    path = write(tmp_path / "d.txt", "".join(f"dog number {i}\n" for i in range(40)))
    same = write(tmp_path / "same.txt", Path(path).read_text())
    with pytest.raises(DataError, match=r"each of its 40 texts is in data\.held_out_path .*same"):
        validation.check(stage(path, f"data.held_out_path={same}"))
