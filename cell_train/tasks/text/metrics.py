"""How close two texts are, and how close the training set alone would get."""

import math
from collections import Counter

import sacrebleu
import torch

from cell_train.tasks.text.corpus import tokens


def bleu(outputs: list[str], references: list[str]) -> float:
    """Corpus BLEU between 0 and 1 on lower-case tokens (sacrebleu, tokenize=none)."""
    if not references:
        return 0.0
    joined = [" ".join(tokens(text)) for text in references]
    return float(sacrebleu.corpus_bleu(outputs, [joined], tokenize="none", force=True).score) / 100


def nearest(queries: list[str], texts: list[str]) -> list[int]:
    """For each query the index of the nearest of `texts`, by cosine of tf-idf counts."""
    frequency = Counter(word for text in texts for word in set(tokens(text)))
    column = {word: i for i, word in enumerate(frequency)}
    weight = {word: math.log(len(texts) / count) + 1 for word, count in frequency.items()}

    def matrix(lines: list[str]) -> torch.Tensor:
        rows, columns, values = [], [], []
        for row, line in enumerate(lines):
            counts = {w: c * weight[w] for w, c in Counter(tokens(line)).items() if w in column}
            norm = math.sqrt(sum(v * v for v in counts.values())) or 1.0
            rows += [row] * len(counts)
            columns += [column[word] for word in counts]
            values += [value / norm for value in counts.values()]
        return torch.sparse_coo_tensor(
            torch.tensor([rows, columns], dtype=torch.int64).view(2, -1),
            torch.tensor(values),
            (len(lines), len(column)),
            check_invariants=False,  # the indices were counted here
        ).coalesce()

    known, best = matrix(texts), []
    for first in range(0, len(queries), BLOCK):
        asked = matrix(queries[first : first + BLOCK]).to_dense().t()
        best += torch.sparse.mm(known, asked).argmax(0).tolist()
    return best


BLOCK = 64  # queries compared with all texts at once
