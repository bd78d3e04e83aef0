"""The text task: a sentence goes in at one face, the same sentence or its reply comes out."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.tasks.faces import Faces
from cell_train.tasks.task import Batch, Evaluation, Sample, TaskContext
from cell_train.tasks.text import corpus, metrics
from cell_train.tasks.text.decoder import Decoder
from cell_train.tasks.text.encoder import (
    LearnedEncoder,
    VsaEncoder,
    position_permutations,
    word_vectors,
)
from cell_train.tasks.text.vocabulary import Vocabulary, build


class TextTask(nn.Module):
    """Encoder, faces and decoder around the lattice.

    With `objective: embedding` the lattice learns the target's embedding and the decoder learns
    from the output without touching it; with `text` the decoder's loss trains all of them.
    """

    primary = "bleu"

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        stage = context.stage
        text, data = stage["text"], stage["data"]
        width, self.max_words = text["embedding"], data["max_words"]
        self.objective = stage["objective"]
        self.shown = stage["monitor"]["samples"]
        generator = torch.Generator().manual_seed(stage["seed"])
        self._path = data["path"]
        self._limits = stage["dataset_limit"], data["held_out"]
        # From all training text, not the limited part: the decoder keeps its words as data grows.
        self.vocabulary = (
            Vocabulary(tuple(context.saved["vocabulary"]))
            if context.saved
            else build((text for pair in self._corpus.train for text in pair), text["vocabulary"])
        )
        length = self.max_words + 1
        self.target_encoder = VsaEncoder(self.vocabulary, width, length)
        self.encoder = (
            self.target_encoder
            if text["encoder"] == "vsa"
            else LearnedEncoder(self.vocabulary, width, generator)
        )
        self.faces = Faces(width, context.dimensions[:2], context.channels, generator)
        self.decoder = Decoder(
            word_vectors(self.vocabulary, width),
            position_permutations(length, width),
            text["decoder_hidden"],
            generator,
        )

    def encode(self, texts: Sequence[str]) -> Tensor:
        """[B, D], what goes in for each text."""
        ids = self.vocabulary.ids(texts, self.max_words)
        embedding: Tensor = self.encoder(ids.to(self.faces.enter.device))
        return embedding

    def target(self, texts: Sequence[str]) -> Tensor:
        """[B, D], what the lattice should say of each text where a text is its own target."""
        ids = self.vocabulary.ids(texts, self.max_words)
        embedding: Tensor = self.target_encoder(ids.to(self.faces.enter.device))
        return embedding

    def decode(self, y: Tensor) -> list[str]:
        """The text that the decoder finds in each row of `y` [B, D]."""
        return self.vocabulary.texts(self.decoder.decode(y).cpu())

    def size(self, split: str) -> int:
        return len(self.train_pairs if split == "train" else self.held_out)

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[Batch]:
        source, target = self._train_ids if split == "train" else self._held_out_ids
        for first in range(0, len(order), micro_batch):
            part = torch.tensor(order[first : first + micro_batch])
            yield Batch(source[part], target[part], len(part))

    def present(self, batch: Batch) -> Tensor:
        return self.faces.drive(self.encoder(batch.source.to(self.faces.enter.device)))

    def write(self, cells: Tensor, x: Tensor) -> Tensor:
        return self.faces.write(cells, x)

    def read(self, cells: Tensor) -> Tensor:
        return self.faces.read(cells)

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        target = batch.target.to(y.device)
        cosine = self._cosine(y, target).mean()
        heard = y if self.objective == "text" else y.detach()
        decoding = self.decoder.loss(heard, target)
        loss = (1 - cosine) + decoding if isinstance(self.encoder, VsaEncoder) else decoding
        return loss, {"cosine": float(cosine.detach()), "decoder_loss": float(decoding.detach())}

    @torch.no_grad()
    def evaluate(self, respond: Callable[[Batch], Tensor], limit: int) -> Evaluation:
        count = min(limit, len(self.held_out)) if limit else len(self.held_out)
        outputs: list[str] = []
        cosines: list[Tensor] = []
        for batch in self.batches("held_out", list(range(count)), 64):
            y = respond(batch)
            cosines.append(self._cosine(y, batch.target.to(y.device)).cpu())
            outputs += self.decode(y)
        pairs = self.held_out[:count]
        targets = [target for _, target in pairs]
        exact = sum(
            out == " ".join(corpus.tokens(target))
            for out, target in zip(outputs, targets, strict=True)
        )
        samples: list[Sample] = [
            (source, target, out)
            for (source, target), out in zip(pairs[: self.shown], outputs, strict=False)
        ]
        found = {
            "bleu": metrics.bleu(outputs, targets),
            "cosine": float(torch.cat(cosines).mean()),
            "exact": exact / max(count, 1),
        }
        if count == len(self.held_out):
            found["nearest_bleu"] = self._nearest_bleu
        return Evaluation(found, samples)

    def saved(self) -> dict[str, object]:
        return {"vocabulary": list(self.vocabulary.words)}

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        self.faces.grow(dimensions[:2])

    def fast_parameters(self) -> list[nn.Parameter]:
        return list(self.decoder.parameters())

    def _cosine(self, y: Tensor, target: Tensor) -> Tensor:
        return functional.cosine_similarity(y, self.target_encoder(target), dim=1)

    @cached_property
    def _corpus(self) -> corpus.Corpus:
        return corpus.load(self._path)  # late: what was trained is used without its data

    @cached_property
    def train_pairs(self) -> list[corpus.Pair]:
        return self._corpus.train[: self._limits[0]]

    @cached_property
    def held_out(self) -> list[corpus.Pair]:
        return self._corpus.held_out[: self._limits[1]]

    @cached_property
    def _train_ids(self) -> tuple[Tensor, Tensor]:
        return self._ids(self.train_pairs)

    @cached_property
    def _held_out_ids(self) -> tuple[Tensor, Tensor]:
        return self._ids(self.held_out)

    def _ids(self, pairs: list[corpus.Pair]) -> tuple[Tensor, Tensor]:
        sources, targets = zip(*pairs, strict=True)
        return (
            self.vocabulary.ids(sources, self.max_words),
            self.vocabulary.ids(targets, self.max_words),
        )

    @cached_property
    def _nearest_bleu(self) -> float:
        """What answering with the target of the nearest training text would score."""
        texts = [source for source, _ in self.train_pairs]
        found = metrics.nearest([source for source, _ in self.held_out], texts)
        answers = [" ".join(corpus.tokens(self.train_pairs[i][1])) for i in found]
        return metrics.bleu(answers, [target for _, target in self.held_out])
