"""The text task: a sentence goes in at one face, the same sentence or its reply comes out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train import limits
from cell_train.config.schema import Data, Text
from cell_train.data import corpus, embeddings
from cell_train.data.corpus import Corpus, Texts
from cell_train.data.tokenizer import join, tokens
from cell_train.data.validation import EXTERNAL
from cell_train.errors import ConfigError
from cell_train.tasks.base import Evaluation, Sample, TaskContext
from cell_train.tasks.faces import Faces
from cell_train.tasks.text import feed, metrics, portable
from cell_train.tasks.text.decoder import Decoder
from cell_train.tasks.text.encoder import (
    GivenEncoder,
    LearnedEncoder,
    VsaEncoder,
    position_permutations,
    word_vectors,
)
from cell_train.tasks.text.feed import Feed, Given, TextBatch
from cell_train.tasks.text.vocabulary import Vocabulary, build

COUNTED = 100_000  # training texts whose words are counted, and that `nearest` looks through


class TextTask(nn.Module):
    """Encoder, faces and decoder around the lattice.

    With `objective: embedding` the lattice learns the target's embedding and the decoder learns
    from the output without touching it; with `text` the decoder's loss trains all of them. A
    learned encoder follows the decoder's loss alone: it could please the other by saying nothing.
    """

    primary = "bleu"
    write = Faces.write

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        stage = context.stage
        text, data = Text(**stage["text"]), Data(**stage["data"])
        width, length = text.embedding, data.max_words + 1
        self.text, self.data, self.limit = text, data, stage["dataset_limit"]
        self.objective, self.shown = stage["objective"], stage["monitor"]["samples"]
        generator = torch.Generator().manual_seed(stage["seed"])
        # From all training text, not the limited part: the decoder keeps its words as data grows.
        self.vocabulary = (
            Vocabulary(tuple(context.saved["vocabulary"]))
            if context.saved
            else build(
                (text for pair in self.corpus.train.first(COUNTED) for text in pair),
                text.vocabulary,
            )
        )
        words, places = word_vectors(self.vocabulary, width), position_permutations(length, width)
        self.encoder: nn.Module
        if text.encoder == "vsa":
            self.encoder = VsaEncoder(words, places)
        elif text.encoder == "learned":
            self.encoder = LearnedEncoder(words, places)
        else:
            self.encoder = GivenEncoder()
            places = torch.arange(width).expand(length, -1)  # it binds no words to positions
        self.faces = Faces(width, context.dimensions[:2], context.channels, generator)
        self.decoder = Decoder(words, places, text.decoder_hidden, generator)

    @cached_property
    def corpus(self) -> Corpus:
        """All text there is; late, since what was trained is used without it."""
        return corpus.of(self.data)

    @cached_property
    def feeds(self) -> dict[str, Feed]:
        """The splits' texts, as far as the stage goes."""
        splits = {
            "train": self.corpus.train.first(self.limit),
            "held_out": self.corpus.held_out.first(self.data.held_out),
        }
        return {split: self._fed(texts) for split, texts in splits.items()}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """[B, D], what goes in for each text.

        Raises ConfigError where the texts' embeddings were made elsewhere.
        """
        name, _, model = self.text.encoder.partition(":")
        if name == "precomputed":
            raise ConfigError("text.encoder=precomputed has no embeddings for other texts")
        given = (
            feed.embedded(model, texts, self.text.embedding)
            if name == EXTERNAL
            else self.vocabulary.ids(texts, self.data.max_words)
        )
        embedding: Tensor = self.encoder(given.to(self.faces.enter.device))
        return embedding

    def decode(self, y: Tensor) -> list[str]:
        """The text that the decoder finds in each row of `y` [B, D]."""
        return [join(line) for line in self._decoded(y)]

    def size(self, split: str) -> int:
        return len(self.feeds[split].texts)

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[TextBatch]:
        for first in range(0, len(order), micro_batch):
            yield self.feeds[split].batch(order[first : first + micro_batch])

    def present(self, batch: TextBatch) -> Tensor:
        return self.faces.drive(self.bypass(batch))

    def read(self, cells: Tensor) -> Tensor:
        return self.faces.read(cells)

    def bypass(self, batch: TextBatch) -> Tensor:
        """The source's embedding, which the decoder reads where there is no lattice."""
        embedding: Tensor = self.encoder(batch.source.to(self.faces.enter.device))
        return embedding

    def score(self, y: Tensor, batch: TextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        heard = y if self.objective == "text" else y.detach()
        decoding = self.decoder.loss(heard, batch.target)
        loss, found = decoding, {"decoder_loss": decoding.detach()}
        if not self._learned:
            cosine = self.cosine(y, batch)
            loss, found["cosine"] = (1 - cosine) + decoding, cosine.detach()
        return loss, found

    def cosine(self, y: Tensor, batch: TextBatch) -> Tensor:
        """Mean cosine between y and the target's embedding, what `objective: embedding` raises."""
        return functional.cosine_similarity(y, self._goal(batch), dim=1).mean()

    @torch.no_grad()
    def evaluate(self, respond: Callable[[TextBatch], Tensor], limit: int) -> Evaluation:
        held_out = self.feeds["held_out"].texts
        count = min(limit, len(held_out)) if limit else len(held_out)
        answers, goals = [], []
        for batch in self.batches("held_out", list(range(count)), limits.TEXTS_DECODED_TOGETHER):
            answers.append(respond(batch))
            goals.append(self._goal(batch))
        y, goal = torch.cat(answers), torch.cat(goals)
        pairs = list(held_out.first(count))
        targets = [tokens(target) for _, target in pairs]
        outputs = self._decoded(y)
        found = {
            "bleu": metrics.bleu(outputs, targets),
            "cosine": float(functional.cosine_similarity(y, goal, dim=1).mean()),
            "exact": sum(map(list.__eq__, outputs, targets)) / max(count, 1),
        }
        if not limit:
            found |= self._controls(y, goal, targets)
        samples: list[Sample] = [
            (source, target, join(output))
            for (source, target), output in zip(pairs[: self.shown], outputs, strict=False)
        ]
        return Evaluation(found, samples)

    def facts(self) -> dict[str, object]:
        """What the stage's first event says of the task."""
        return {
            "train": self.size("train"),
            "held_out": self.size("held_out"),
            "duplicates": self.corpus.counts.duplicates,
            "vocabulary": len(self.vocabulary),
            "decoder_parameters": sum(p.numel() for p in self.decoder.parameters()),
            "bleu": metrics.signature(),
        }

    def saved(self) -> dict[str, object]:
        return {"vocabulary": list(self.vocabulary.words)}

    def portable(self) -> dict[str, Any]:
        """As tasks/base.py says: what a page needs to type a sentence and read what comes out."""
        return {
            "kind": "text",
            "vocabulary": list(self.vocabulary.words),
            "max_words": self.data.max_words,
            "beam": self.text.beam,
            "width": self.text.embedding,
            **portable.portable(self.encoder, self.faces, self.decoder),
        }

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        self.faces.grow(dimensions[:2])

    def settle(self, cells: Iterable[Tensor], y: Tensor) -> None:
        """Correct how grown cells are read, [X, Y, Z, B, C] a batch, so that they say y [N, D]."""
        seen = y.new_empty(len(y), self.faces.leave.numel() // y.shape[1])
        filled = 0
        for part in cells:
            shown = self.faces.seen(part)
            seen[filled : filled + len(shown)] = shown
            filled += len(shown)
        self.faces.settle(seen, y)

    def fast_parameters(self) -> list[nn.Parameter]:
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    @property
    def _learned(self) -> bool:
        return isinstance(self.encoder, LearnedEncoder)

    def _fed(self, texts: Texts) -> Feed:
        paired, max_words = self.corpus.paired, self.data.max_words
        return Feed(texts, paired, self.vocabulary, max_words, self._given(texts))

    def _given(self, texts: Texts) -> Given | None:
        """The embeddings of `texts`, where they are not made here."""
        name, _, model = self.text.encoder.partition(":")
        if name == EXTERNAL:
            return feed.encoded(model, texts, self.corpus.paired, self.text.embedding)
        if name == "precomputed" and self.text.embeddings is not None:
            table = embeddings.open_table(self.text.embeddings, self.corpus.paired)
            return Given(table.text, table.reply, np.asarray(texts.entries["row"], np.int64))
        return None

    def _goal(self, batch: TextBatch) -> Tensor:
        """[B, D]: the target's embedding."""
        embedding: Tensor = self.encoder(batch.goal.to(self.faces.enter.device))
        return embedding

    def _decoded(self, embedding: Tensor) -> list[list[str]]:
        """What the decoder says to each of [N, D]."""
        return [
            line
            for part in embedding.split(limits.TEXTS_DECODED_TOGETHER)
            for line in self.vocabulary.texts(self.decoder.decode(part, self.text.beam).cpu())
        ]

    def _controls(self, y: Tensor, goal: Tensor, targets: list[list[str]]) -> dict[str, float]:
        """What can be said without training anything else.

        nearest_bleu: answering with the target of the nearest training text. known_words: share of
        the targets' words that are in the vocabulary. direct_bleu: this
        decoder, which has heard the lattice alone, on the target's embedding itself. For pairs also
        rank (median, 1 is best) and reciprocal_rank of the right reply among the held-out
        ones, and the same of the nearest training text's reply.
        """
        train = self.feeds["train"]
        known = [source for source, _ in islice(train.texts, COUNTED)]
        asked = [source for source, _ in self.feeds["held_out"].texts]
        found = metrics.nearest(asked, known)
        answers = [tokens(train.texts[i][1]) for i in found]
        said = {"nearest_bleu": metrics.bleu(answers, targets)}
        words, meant = {*self.vocabulary.words}, [word for text in targets for word in text]
        said["known_words"] = sum(word in words for word in meant) / max(len(meant), 1)
        if not self._learned:
            said["direct_bleu"] = metrics.bleu(self._decoded(goal), targets)
        if self.corpus.paired:
            most = limits.REPLIES_RANKED
            there = self._goal(train.batch(found[:most]))
            for prefix, answer in (("", y), ("nearest_", there)):
                rank = metrics.ranks(answer[:most], goal[:most]).float()
                said[f"{prefix}rank"] = float(rank.median())
                said[f"{prefix}reciprocal_rank"] = float((1 / rank).mean())
        return said


TASK = TextTask
