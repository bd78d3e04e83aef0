"""Words as numbers, and back."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cell_train.data.tokenizer import tokens

PAD, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<pad>", "<end>", "<unk>")


@dataclass(frozen=True)
class Vocabulary:
    """A fixed list of words; the first three are special."""

    words: tuple[str, ...]
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {word: i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, texts: Iterable[str], max_words: int) -> Tensor:
        """[B, max_words + 1] int64: words, <end>, padding; longer texts are cut."""
        table = np.full((len(texts := list(texts)), max_words + 1), PAD)
        for line, text in zip(table, texts, strict=True):
            row = [self.index.get(word, UNKNOWN) for word in tokens(text)[:max_words]]
            line[: len(row) + 1] = (*row, END)
        return torch.from_numpy(table)

    def texts(self, ids: Tensor) -> list[list[str]]:
        """The words up to <end> of each row [B, L]; `words.join` makes a text of them."""
        lines = []
        for row in ids.tolist():
            end = row.index(END) if END in row else len(row)
            lines.append([self.words[i] for i in row[:end] if i != PAD])
        return lines


def build(texts: Iterable[str], limit: int) -> Vocabulary:
    """The `limit` most frequent words of `texts`; ties in alphabetical order."""
    counts = Counter(token for text in texts for token in tokens(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary((*SPECIAL, *ranked[: max(limit - len(SPECIAL), 0)]))
