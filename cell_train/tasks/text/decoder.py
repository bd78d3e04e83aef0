"""D numbers back to text: a small recurrent decoder that knows where a position's word lies.

At position l the embedding is permuted back by l (the inverse of the encoder's binding), so that
the word's vector stands out of the crosstalk; a gated recurrent unit reads this view beside the
word before and adds what it knows about language. Both are compared with one table of word
vectors, which starts as the encoder's: before any training the decoder already inverts the code.
An embedding from elsewhere binds no words to positions: every position then sees it as it is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.tasks.text.encoder import seed_parameters
from cell_train.tasks.text.vocabulary import END, PAD


class Decoder(nn.Module):
    """V (D + 1) + 1 + 3 h (2 D + h + 2) + D (h + 1) parameters: 345,265 for the built-in data."""

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
        """Mean cross entropy of `target` [B, L] given `embedding` [B, D], teacher forced.

        Of targets on the CPU it is known without waiting for a GPU how long they are.
        """
        length, device = int((target != PAD).sum(1).max()), embedding.device
        target = target[:, :length]
        # Half of a batch is padding, and comparing with all words is most of a step's time.
        said = (target != PAD).flatten().nonzero().squeeze(1).to(device)
        target = target.to(device)
        before = functional.pad(target[:, :-1], (1, 0), value=END)
        view = self._views(embedding, length)
        # Looked up as an embedding, not by indexing, whose gradient adds up in no fixed order.
        words = functional.embedding(before, self.words)
        states, _ = self.recurrent(torch.cat((view, words), 2))
        view, states = (part.flatten(0, 1).index_select(0, said) for part in (view, states))
        return functional.cross_entropy(
            self._logits(view, states), target.flatten().index_select(0, said)
        )

    @torch.no_grad()
    def decode(self, embedding: Tensor, beam: int = 1) -> Tensor:
        """The text that `beam` search finds most probable a word: [B, L] int64.

        With one beam that is the most probable word at each position given those before.
        """
        count, device = len(embedding), embedding.device
        beams = torch.arange(count, device=device)[:, None]  # [B, 1], to pick rows by
        score = torch.full((count, beam), -torch.inf, device=device)
        score[:, 0] = 0.0  # all beams begin alike
        texts = torch.full((count, beam, 1), END, device=device)  # what came before, see `loss`
        length = torch.zeros(count, beam, device=device)
        ended = torch.zeros(count, beam, dtype=torch.bool, device=device)
        state: Tensor | None = None
        for view in self._views(embedding, self.get_buffer("undo").shape[0]).unbind(1):
            seen = view.repeat_interleave(beam, 0)
            step = torch.cat((seen, self.words[texts[:, :, -1].flatten()]), 1)
            hidden, state = self.recurrent(step[:, None], state)
            logits = self._logits(seen, hidden[:, 0])
            logits[:, PAD] = -torch.inf
            gain = logits.log_softmax(1).unflatten(0, (count, beam))  # [B, beam, V]
            gain[ended] = -torch.inf
            gain[:, :, PAD] = torch.where(ended, 0.0, -torch.inf)
            score, best = (score[:, :, None] + gain).flatten(1).topk(beam)
            parent, word = best // gain.shape[2], best % gain.shape[2]
            texts = torch.cat((texts[beams, parent], word[:, :, None]), 2)
            length = length[beams, parent] + (word != PAD)
            ended = ended[beams, parent] | (word == END)
            state = state[:, (beams * beam + parent).flatten()]
            if bool(ended.all()):
                break
        return texts[beams[:, 0], (score / length).argmax(1), 1:]

    def _views(self, embedding: Tensor, length: int) -> Tensor:
        """[B, L, D]: the embedding as each position reads it, its numbers of variance 1."""
        scaled = functional.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
        undo = self.get_buffer("undo")[:length].expand(len(embedding), -1, -1)
        # Each position's gradient goes back by a permutation and is added up in a fixed order.
        return scaled[:, None].expand(undo.shape).gather(2, undo)

    def _logits(self, view: Tensor, state: Tensor) -> Tensor:
        return (self.scale * view + self.project(state)) @ self.words.t() + self.bias
