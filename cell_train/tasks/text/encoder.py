"""Text to D numbers.

`vsa`, the default, needs no training and no download: a vector-symbolic code (Plate 1995; Gayler
2003). Each word has a random vector, each position a random permutation of the D numbers; a text
is the sum of its words, each permuted by its position. Permuting back finds the word again among
the crosstalk of the others.
"""

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.tasks.text.vocabulary import PAD, SPECIAL, Vocabulary


def word_vectors(vocabulary: Vocabulary, width: int) -> Tensor:
    """[V, D] of +-1 / sqrt(D), each row from its word alone; <pad> is zero."""
    table = torch.empty(len(vocabulary), width)
    for row, word in zip(table, vocabulary.words, strict=True):
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest(), "big")
        generator = torch.Generator().manual_seed(seed)
        row.copy_(torch.randint(0, 2, (width,), generator=generator) * 2.0 - 1.0)
    table[SPECIAL.index("<pad>")] = 0.0
    return table * width**-0.5


def position_permutations(length: int, width: int) -> Tensor:
    """[L, D] int64, one fixed permutation a position; prefixes agree whatever the length."""
    generator = torch.Generator().manual_seed(0x706F73)
    return torch.stack([torch.randperm(width, generator=generator) for _ in range(length)])


class VsaEncoder(nn.Module):
    """The fixed code; rows of length sqrt(D), so that a number has variance 1."""

    def __init__(self, words: Tensor, places: Tensor) -> None:
        """`words` [V, D] from `word_vectors`, `places` [L, D] from `position_permutations`."""
        super().__init__()
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("places", places, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, L] int64 -> [B, D]."""
        return _bound(self.get_buffer("words")[ids], self.get_buffer("places"))


class GivenEncoder(nn.Module):
    """Embeddings made elsewhere, a sentence's numbers [B, D], brought to the same length."""

    def forward(self, vectors: Tensor) -> Tensor:
        return _scaled(vectors)


class LearnedEncoder(nn.Module):
    """The code with word vectors of its own, which the decoder's loss trains (objective: text).

    It starts as `vsa`, so that the decoder reads it from the first step on.
    """

    def __init__(self, words: Tensor, places: Tensor) -> None:
        """`words` [V, D] from `word_vectors`, `places` [L, D] from `position_permutations`."""
        super().__init__()
        self.words = nn.Parameter(words.clone())
        self.register_buffer("places", places, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, L] int64 -> [B, D]."""
        # An embedding, not an index, whose gradient adds up in no fixed order; <pad> stays zero.
        vectors = functional.embedding(ids, self.words, padding_idx=PAD)
        return _bound(vectors, self.get_buffer("places"))


def seed_parameters(module: nn.Module, generator: torch.Generator) -> None:
    """Draw a module's weights again from `generator`: uniform, by fan-in; vectors start at 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                bound = parameter.shape[-1] ** -0.5
                draw = torch.rand(parameter.shape, generator=generator)
                parameter.copy_((2 * draw - 1) * bound)
            else:
                parameter.zero_()


def _bound(vectors: Tensor, places: Tensor) -> Tensor:
    """[B, L, D] -> [B, D]: the sum of the vectors, each permuted by its position."""
    there = places[: vectors.shape[1]].expand(vectors.shape[0], -1, -1)
    return _scaled(vectors.gather(2, there).sum(1))


def _scaled(embedding: Tensor) -> Tensor:
    return functional.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
