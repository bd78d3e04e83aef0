"""A split's texts as tensors: words for the decoder; words or embeddings for the encoder."""

import hashlib
import importlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from cell_train import cache, limits
from cell_train.data.corpus import Texts
from cell_train.data.embeddings import Array
from cell_train.errors import ConfigError
from cell_train.tasks.base import Batch
from cell_train.tasks.text.vocabulary import Vocabulary

ENCODED = 256  # texts a model gets at once
PLAINLY = {"show_progress_bar": False, "convert_to_numpy": True}


@dataclass(frozen=True)
class TextBatch(Batch):
    """`target` is ids [B, L]; `source` and `goal`, what the encoder makes the target's embedding
    of, are ids as well, or embeddings [B, D]."""

    goal: Tensor

    per_sample: ClassVar[tuple[str, ...]] = ("source", "target", "goal")


@dataclass(frozen=True)
class Given:
    """Embeddings made elsewhere: text i of a split has row `rows[i]` of both arrays."""

    text: Array
    reply: Array
    rows: Array

    def take(self, array: Array, part: list[int]) -> Tensor:
        return torch.from_numpy(np.asarray(array[self.rows[part]], np.float32))


@dataclass(frozen=True)
class Feed:
    texts: Texts
    paired: bool
    vocabulary: Vocabulary
    max_words: int
    given: Given | None = None

    def batch(self, part: list[int]) -> TextBatch:
        """The texts at the positions `part`."""
        if len(self.texts) <= limits.TEXT_IDS_HELD:  # of more each batch is read again
            source, target = (ids[part].long() for ids in self._held)
        else:
            source, target = self._ids([self.texts[position] for position in part])
        if self.given is None:
            return TextBatch(source, target, len(part), goal=target)
        given = self.given
        source, goal = given.take(given.text, part), given.take(given.reply, part)
        return TextBatch(source, target, len(part), goal)

    @cached_property
    def _held(self) -> tuple[Tensor, Tensor]:
        source, target = self._ids(self.texts)
        return source.int(), target.int()

    def _ids(self, pairs: Iterable[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        sources, targets = zip(*pairs, strict=True)
        ids = self.vocabulary.ids(targets, self.max_words)
        return self.vocabulary.ids(sources, self.max_words) if self.paired else ids, ids


def encoded(name: str, texts: Texts, paired: bool, width: int) -> Given:
    """The embeddings that the sentence-transformers model `name` makes of texts and replies.

    They are computed once and kept in the cache. Raises ConfigError where the model cannot be
    loaded or gives other than `width` numbers.
    """
    arrays = [_encoded(name, texts, side, width) for side in ((0, 1) if paired else (0,))]
    return Given(arrays[0], arrays[-1], np.arange(len(texts)))


def embedded(name: str, texts: Sequence[str], width: int) -> Tensor:
    """[B, D], what the model makes of some texts. Raises ConfigError as `encoded` does."""
    rows = _model(name, width).encode(list(texts), **PLAINLY)
    return torch.from_numpy(np.asarray(rows, np.float32))


def _encoded(name: str, texts: Texts, side: int, width: int) -> Array:
    total = hashlib.blake2b(f"{name} {_weights(name)} {width}".encode(), digest_size=16)
    for pair in texts:
        total.update(f"{pair[side]}\0".encode())

    def write(stream: BinaryIO) -> None:
        model = _model(name, width)
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(texts), width)}
        npy.write_array_header_1_0(stream, header)
        sentences = (pair[side] for pair in texts)
        while part := list(islice(sentences, ENCODED)):
            rows = model.encode(part, **PLAINLY)
            stream.write(np.ascontiguousarray(rows, "<f4").tobytes())

    with suppress(OSError):
        path = cache.room("embeddings", make=True) / f"{total.hexdigest()}.npy"
        with cache.alone(path):
            if cache.facts(path) is None:
                cache.keep(path, write)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    with tempfile.TemporaryFile() as stream:  # a cache that cannot be had: made for this stage
        write(stream)
        stream.seek(0)
        begin = _after_header(stream)
        return np.memmap(stream, "<f4", "r", begin, (len(texts), width))


def _after_header(stream: BinaryIO) -> int:
    npy.read_magic(stream)
    npy.read_array_header_1_0(stream)
    return stream.tell()


def _weights(name: str) -> str:
    """What tells one state of a model's files from another: their content, or the hub's commit."""
    total = hashlib.sha256()
    if Path(name).is_dir():
        for path in sorted(Path(name).rglob("*")):
            if path.is_file():
                total.update(os.fsencode(path.relative_to(name)) + b"\0")
                with path.open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()
    with suppress(Exception):  # an optional package of another house
        hub = importlib.import_module("huggingface_hub")
        for full in (name, f"sentence-transformers/{name}"):
            found = hub.try_to_load_from_cache(full, "config.json")
            if isinstance(found, str):
                return Path(found).parent.name  # of snapshots/COMMIT/config.json
    return "unknown"


def _model(name: str, width: int) -> Any:
    try:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(name)
    except Exception as error:  # whatever files, hub and network make it raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"text.encoder=sentence-transformers:{name} cannot be loaded ({reason})"
        ) from error
    gives = model.get_sentence_embedding_dimension()
    if gives != width:
        raise ConfigError(
            f"text.encoder=sentence-transformers:{name} gives {gives} numbers, text.embedding is"
            f" {width}; set text.embedding={gives}"
        )
    return model
