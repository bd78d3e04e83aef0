"""What is wrong, or worth a word, about the text a stage would train on: before it starts."""

import importlib.util

import numpy as np

from cell_train import invocation
from cell_train.config.schema import Stage
from cell_train.data import corpus, embeddings
from cell_train.data.corpus import Corpus
from cell_train.errors import ConfigError, DataError

BUILT_IN = ("vsa", "learned")
EXTERNAL = "sentence-transformers"


def check(stage: Stage) -> list[str]:
    """Notes on the data; raises DataError or ConfigError where the stage cannot train on it."""
    data, text = stage.data, stage.text
    if (data.path, data.held_out_path) == ("builtin", None) and text.encoder in BUILT_IN:
        return []  # sound as it comes, and `celltrain run` need not make it twice
    loaded = corpus.of(data)
    _check_all_held_out(loaded, data.path, data.held_out_path)
    _check_sizes(loaded, data.path, data.held_out_path, stage.batch_size)
    if (
        text.encoder.startswith(EXTERNAL)
        and importlib.util.find_spec("sentence_transformers") is None
    ):
        raise ConfigError(
            f"text.encoder={text.encoder} needs the extra {EXTERNAL!r}:"
            f" {invocation.pip_install(f'celltrain[{EXTERNAL}]')}"
        )
    if text.encoder == "precomputed":
        _check_embeddings(stage, loaded)
    return notes(loaded, data.path, data.max_words)


def notes(loaded: Corpus, path: str, max_words: int) -> list[str]:
    """Sentences on what is left out or cut."""
    counts, said = loaded.counts, []
    if loaded.running:
        said.append(
            f"{path}: reads as running text, taken apart into {counts.texts} sentences;"
            " data.split=lines takes each line as a text"
        )
    if counts.duplicates:
        said.append(
            f"{path}: {counts.duplicates} of {counts.texts} texts are there already, up to case"
            " and spacing; the first of equal ones is used"
        )
    if counts.empty:
        said.append(f"{counts.first_empty}: no text, one of {counts.empty} that are left out")
    if counts.leaked:
        said.append(f"{path}: {counts.leaked} texts are held out too and not trained on")
    cut = sum(
        int(np.sum(part.entries["words"] > max_words)) for part in (loaded.train, loaded.held_out)
    )
    if cut:
        said.append(
            f"{counts.longest_at}: {counts.longest} words, the longest of {cut} texts that are cut"
            f" after data.max_words={max_words}"
        )
    return said


def _check_all_held_out(loaded: Corpus, path: str, held_out_path: str | None) -> None:
    if held_out_path is not None and not len(loaded.train) and loaded.counts.leaked:
        raise DataError(
            f"{path}: each of its {loaded.counts.leaked} texts is in data.held_out_path"
            f" {held_out_path} too, and what is held out is not trained on; name a file of other"
            " texts there, or leave it away and a tenth is held out"
        )


def _check_sizes(loaded: Corpus, path: str, held_out_path: str | None, batch_size: int) -> None:
    train, held_out = len(loaded.train), len(loaded.held_out)
    found = f"{path}: {train + (0 if held_out_path else held_out)} different texts"
    if train < batch_size:
        raise DataError(
            f"{found}, {train} of them to train on, are fewer than one batch"
            f" (batch_size {batch_size}); add text or set batch_size={max(train, 1)}"
        )
    if not held_out:
        raise DataError(f"{found}, none of which falls into the held-out tenth; add text")


def _check_embeddings(stage: Stage, loaded: Corpus) -> None:
    """The numbers fit the text and the stage."""
    if stage.text.embeddings is None:
        raise ConfigError(
            "text.encoder=precomputed needs text.embeddings=FILE (.npy, .npz or .safetensors)"
        )
    if stage.data.held_out_path is not None:
        raise ConfigError(
            "text.encoder=precomputed holds out texts of data.path itself;"
            " leave data.held_out_path away"
        )
    table = embeddings.open_table(stage.text.embeddings, loaded.paired)
    embeddings.check(table, stage.text.embeddings, loaded.counts.texts, stage.text.embedding)
