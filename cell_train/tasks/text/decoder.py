"""D numbers back to text: a small recurrent decoder that knows where a position's word lies.

At position l the embedding is permuted back by l (the inverse of the encoder's binding), so that
the word's vector stands out of the crosstalk; a gated recurrent unit reads this view beside the
word before and adds what it knows about language. Both are compared with one table of word
vectors, which starts as the encoder's: before any training the decoder already inverts the code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.tasks.text.encoder import seed_parameters
from cell_train.tasks.text.vocabulary import END, PAD


class Decoder(nn.Module):
    """Parameters: V (D + 1) + 1 + 3 h (2 D + h + 2) + D (h + 1)."""

    def __init__(
        self, words: Tensor, permutations: Tensor, hidden: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        vocabulary, width = words.shape
        self.recurrent = nn.GRU(2 * width, hidden, batch_first=True)
        self.project = nn.Linear(hidden, width)
        seed_parameters(self, generator)
        self.words = nn.Parameter(words.clone())  # [V, D]
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("undo", permutations.argsort(1), persistent=False)  # [L, D]

    def loss(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Mean cross entropy of `target` [B, L] given `embedding` [B, D], teacher forced."""
        length = int((target != PAD).sum(1).max())
        target = target[:, :length]
        before = functional.pad(target[:, :-1], (1, 0), value=END)
        view = self._views(embedding, length)
        # Looked up as an embedding, not by indexing, whose gradient adds up in no fixed order.
        words = functional.embedding(before, self.words)
        states, _ = self.recurrent(torch.cat((view, words), 2))
        return functional.cross_entropy(
            self._logits(view, states).flatten(0, 1), target.flatten(), ignore_index=PAD
        )

    @torch.no_grad()
    def decode(self, embedding: Tensor) -> Tensor:
        """The most probable word at each position given those before: [B, L] int64."""
        views = self._views(embedding, self.get_buffer("undo").shape[0])
        word = torch.full((len(embedding),), END, device=embedding.device)
        ended = torch.zeros_like(word, dtype=torch.bool)
        state, out = None, []
        for view in views.unbind(1):
            step = torch.cat((view, self.words[word]), 1)[:, None]
            hidden, state = self.recurrent(step, state)
            logits = self._logits(view, hidden[:, 0])
            logits[:, PAD] = -torch.inf
            word = torch.where(ended, PAD, logits.argmax(1))
            out.append(word)
            ended = ended | (word == END)
            if bool(ended.all()):
                break
        return torch.stack(out, 1)

    def _views(self, embedding: Tensor, length: int) -> Tensor:
        """[B, L, D]: the embedding as each position reads it, its numbers of variance 1."""
        scaled = functional.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
        undo = self.get_buffer("undo")[:length]
        return scaled.index_select(1, undo.flatten()).unflatten(1, undo.shape)

    def _logits(self, view: Tensor, state: Tensor) -> Tensor:
        return (self.scale * view + self.project(state)) @ self.words.t() + self.bias
