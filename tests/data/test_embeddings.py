"""Embeddings made elsewhere: read as numbers, held against the text, refused with a sentence."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from cell_train.data import builtin, corpus, embeddings, validation
from cell_train.errors import ConfigError, DataError
from cell_train.tasks.text import feed
from tests.conftest import Resolve

ROWS = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(builtin.sentences(200, seed=0)))
    return path


def save_safely(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """The safetensors format, as its documentation has it."""
    header: dict[str, Any] = {"__metadata__": {"made": "here"}}
    begin = 0
    for name, array in arrays.items():
        kind = {"float32": "F32", "float16": "F16", "int64": "I64"}[array.dtype.name]
        offsets = [begin, begin := begin + array.nbytes]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": offsets}
    blob = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(len(blob).to_bytes(8, "little") + blob + data)


SAVE: dict[str, Callable[..., None]] = {
    ".npy": lambda path, text, **_: np.save(path, text),
    ".npz": lambda path, **arrays: np.savez(path, **arrays),
    ".safetensors": save_safely,
}


@pytest.mark.parametrize("suffix", SAVE)
def test_every_format_gives_the_same_numbers(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    SAVE[suffix](path, text=ROWS, reply=ROWS[::-1].copy())
    table = embeddings.open_table(str(path), paired=False)
    embeddings.check(table, str(path), 200, 8)
    np.testing.assert_array_equal(table.text, ROWS)
    assert isinstance(table.text, np.memmap)
    if suffix == ".npy":
        with pytest.raises(DataError, match=r"holds no array 'reply', there are: 'text'"):
            embeddings.open_table(str(path), paired=True)
    else:
        paired = embeddings.open_table(str(path), paired=True)
        np.testing.assert_array_equal(paired.reply, ROWS[::-1])


def test_a_text_has_the_row_it_had_before_the_split(text: Path, tmp_path: Path) -> None:
    sentences = builtin.sentences(200, seed=0)
    loaded = corpus.load(str(text))
    for texts in (loaded.train, loaded.held_out):
        given = feed.Given(ROWS, ROWS, np.asarray(texts.entries["row"], np.int64))
        wanted = torch.tensor(ROWS[sentences.index(texts[3][0])])
        assert torch.equal(given.take(given.text, [3])[0], wanted)


@pytest.mark.parametrize(
    ("suffix", "rows", "says"),
    [
        (".npy", ROWS[:, :5], r"5 numbers a row, but text.embedding is 8; set text.embedding=5"),
        (".npy", ROWS[:150], r"150 rows of 'text', but data.path holds 200 texts"),
        (".npy", ROWS[0], r"'text' must be \[texts, numbers\] of floats, not \[8\]"),
        (".npy", ROWS.astype(np.int64), "of floats, not .* of int64"),
        (".npy", np.where(np.arange(200)[:, None] == 7, np.inf, ROWS), "row 7 of 'text' holds a"),
        (".npy", np.array([{}] * 200), "holds no arrays that can be read"),
        (".npz", np.array([{}] * 200), "holds no arrays that can be read"),
        (".safetensors", ROWS.astype(np.int64), "is I64; store F32 or F16"),
        (".safetensors", ROWS[:, :5], "5 numbers a row"),
    ],
)
def test_what_does_not_fit_the_text_is_refused_before_a_stage_starts(
    resolve_stages: Resolve, text: Path, suffix: str, rows: np.ndarray[Any, Any], says: str
) -> None:
    path = text.with_suffix(suffix)
    SAVE[suffix](path, text=rows)
    words = [f"data.path={text}", f"text.embeddings={path}", "text.encoder=precomputed"]
    stage = resolve_stages("1", [*words, "text.embedding=8"])[0].stage
    with pytest.raises(DataError, match=says) as caught:
        validation.check(stage)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SAVE)
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    SAVE[suffix](path, text=ROWS)
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:5], b"", b"\xff" * 500):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"rows{suffix}: holds no arrays that can be read"):
            embeddings.open_table(str(path), paired=False)
    with pytest.raises(DataError, match=r"text.embeddings takes .npy, .npz, .safetensors files"):
        embeddings.open_table(str(tmp_path / "rows.pkl"), paired=False)


def test_a_compressed_archive_cannot_unfold_in_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", text=ROWS)
    with pytest.raises(DataError, match=r"is compressed; write it by numpy.savez"):
        embeddings.open_table(str(tmp_path / "rows.npz"), paired=False)


def test_a_model_needs_its_extra(
    resolve_stages: Resolve, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    words = [f"data.path={text}", "text.encoder=sentence-transformers:some/model"]
    with pytest.raises(
        ConfigError, match=r"needs the extra 'sentence-transformers': .*pip install"
    ):
        validation.check(resolve_stages("1", words)[0].stage)


def test_a_model_encodes_each_text_once(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in for the package: what is asked of it, and what is made of the answer."""
    asked: list[str] = []

    class Model:
        def __init__(self, name: str) -> None:
            if name != "some/model":
                raise OSError(f"{name} is not a local folder\nand more")

        def get_sentence_embedding_dimension(self) -> int:
            return 4

        def encode(self, texts: Iterable[str], **_: object) -> np.ndarray[Any, Any]:
            asked.extend(texts := list(texts))
            return np.array([[len(one), ord(one[0]), 0, 1] for one in texts], np.float64)

    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    train = corpus.load(str(text)).train
    for _ in range(2):
        given = feed.encoded("some/model", train, paired=False, width=4)
    assert asked == [source for source, _ in train]
    source = train[2][0]
    assert given.take(given.text, [2]).tolist() == [[len(source), ord(source[0]), 0, 1]]
    with pytest.raises(ConfigError, match=r"gives 4 numbers, text.embedding is 5; set text.emb"):
        feed.encoded("some/model", train, paired=False, width=5)
    with pytest.raises(ConfigError, match=r"cannot be loaded \(other is not a local folder\)"):
        feed.encoded("other", train, paired=False, width=4)
