"""How close two texts are, and how close the training set alone would get."""

import math
from collections import Counter
from collections.abc import Sequence

import torch
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor
from torch.nn import functional

from cell_train import limits
from cell_train.data.tokenizer import tokens

Words = Sequence[str]
_BLEU = BLEU(tokenize="none", force=True)


def bleu(outputs: Sequence[Words], references: Sequence[Words]) -> float:
    """Corpus BLEU between 0 and 1 on the words as `tokens` makes them (sacrebleu)."""
    if not references:
        return 0.0
    said, meant = ([" ".join(line) for line in lines] for lines in (outputs, references))
    return float(_BLEU.corpus_score(said, [meant]).score) / 100


def signature() -> str:
    """How sacrebleu counted, as papers state it."""
    _BLEU.corpus_score(["a"], [["a"]])  # it knows the number of references only then
    return str(_BLEU.get_signature())


def ranks(queries: Tensor, candidates: Tensor) -> Tensor:
    """[N]: how many of `candidates` [N, D] are nearer by cosine to query i [D] than the i-th.

    1 is the best; candidates equal to the i-th do not count against it.
    """
    unit = functional.normalize(candidates, dim=1)
    similarity = functional.normalize(queries, dim=1) @ unit.t()
    own = (similarity.diagonal() + 1e-6)[:, None]
    return 1 + (similarity > own).sum(1)


def nearest(queries: Sequence[str], texts: Sequence[str]) -> list[int]:
    """For each query the index of the nearest of `texts`, by cosine of tf-idf counts."""
    bags, frequency = [], Counter[str]()
    for text in texts:
        bags.append(Counter(tokens(text)))
        frequency.update(bags[-1].keys())
    column = {word: i for i, word in enumerate(frequency)}
    weight = {word: math.log(len(texts) / count) + 1 for word, count in frequency.items()}

    def matrix(lines: Sequence[Counter[str]]) -> Tensor:
        rows, columns, values = [], [], []
        for row, bag in enumerate(lines):
            counts = {w: c * weight[w] for w, c in bag.items() if w in column}
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

    known, best = matrix(bags), []
    block = limits.TEXTS_DECODED_TOGETHER
    for first in range(0, len(queries), block):
        asked = matrix([Counter(tokens(query)) for query in queries[first : first + block]])
        best += torch.sparse.mm(known, asked.to_dense().t()).argmax(0).tolist()
    return best
