"""Text: the code, its decoder, and the scores."""

import random

import pytest
import torch
from torch.nn import functional

from cell_train.data import builtin
from cell_train.data.tokenizer import join, tokens
from cell_train.tasks.faces import Faces
from cell_train.tasks.text import metrics
from cell_train.tasks.text.decoder import Decoder
from cell_train.tasks.text.encoder import (
    LearnedEncoder,
    VsaEncoder,
    position_permutations,
    word_vectors,
)
from cell_train.tasks.text.vocabulary import END, PAD, Vocabulary, build

LINES = [
    f"the {a} {b} sees a {c} ."
    for a in ["red", "old", "sad"]
    for b in ["dog", "cat", "owl"]
    for c in ["house", "tree", "boat", "road"]
]


def vsa(vocabulary: Vocabulary, width: int, length: int) -> VsaEncoder:
    return VsaEncoder(word_vectors(vocabulary, width), position_permutations(length, width))


def words(texts: list[str]) -> list[list[str]]:
    return [tokens(text) for text in texts]


def test_an_untrained_decoder_already_inverts_the_code() -> None:
    """Ten words superposed in 256 numbers: permuting back finds nearly all of them."""
    vocabulary = build(builtin.sentences(2000, seed=0), 8000)
    texts = builtin.sentences(2200, seed=0)[2000:]
    encoder = vsa(vocabulary, 256, 15)
    decoder = Decoder(
        word_vectors(vocabulary, 256),
        position_permutations(15, 256),
        32,
        torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        decoder.project.weight.zero_()
    outputs = vocabulary.texts(decoder.decode(encoder(vocabulary.ids(texts, 14))))
    assert metrics.bleu(outputs, words(texts)) > 0.6
    shuffled = random.Random(0).sample(words(texts), len(texts))
    assert metrics.bleu(outputs, shuffled) < 0.1


def test_the_code_tells_word_order_apart_and_has_unit_variance() -> None:
    vocabulary = build(["dog bites man"], 100)
    encoder = vsa(vocabulary, 512, 5)
    codes = encoder(vocabulary.ids(["dog bites man", "man bites dog"], 4))
    assert torch.nn.functional.cosine_similarity(codes[0], codes[1], dim=0) < 0.7
    torch.testing.assert_close(codes.square().mean(1), torch.ones(2))


def test_a_word_has_the_same_vector_in_every_vocabulary() -> None:
    first, second = Vocabulary(("<pad>", "<end>", "<unk>", "dog")), build(["cat dog eel"], 9)
    row = second.index["dog"]
    assert torch.equal(word_vectors(first, 64)[3], word_vectors(second, 64)[row])


def test_padding_changes_no_code() -> None:
    vocabulary = build(LINES, 100)
    short, long = vocabulary.ids(LINES[:3], 7), vocabulary.ids(LINES[:3], 12)
    learned = LearnedEncoder(word_vectors(vocabulary, 32), position_permutations(13, 32))
    for encoder in (vsa(vocabulary, 32, 13), learned):
        torch.testing.assert_close(encoder(short), encoder(long))


def test_the_decoder_learns_what_the_code_does_not_say() -> None:
    """From embeddings that are noise apart from one bit, teacher forcing finds the grammar."""
    vocabulary = build(LINES, 100)
    decoder = Decoder(
        word_vectors(vocabulary, 64),
        position_permutations(10, 64),
        32,
        torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    target = vocabulary.ids(LINES, 9)
    noise = torch.randn(len(LINES), 64, generator=torch.Generator().manual_seed(0))
    first = decoder.loss(noise, target).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = decoder.loss(noise, target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 < first
    outputs = map(join, vocabulary.texts(decoder.decode(noise)))
    assert all(line.startswith("the ") and line.endswith(" .") for line in outputs)


def test_the_decoder_has_the_parameters_its_docstring_counts() -> None:
    v, d, h = 50, 32, 16
    decoder = Decoder(
        torch.randn(v, d), position_permutations(5, d), h, torch.Generator().manual_seed(0)
    )
    expected = v * (d + 1) + 1 + 3 * h * (2 * d + h + 2) + d * (h + 1)
    assert sum(p.numel() for p in decoder.parameters()) == expected


def test_bleu_is_one_for_the_reference_and_near_zero_for_other_words() -> None:
    upper = [line.upper() for line in LINES]
    assert metrics.bleu(words(LINES), words(upper)) == pytest.approx(1.0)
    assert metrics.bleu([list("xyzwvu")] * len(LINES), words(LINES)) < 0.01


def test_bleu_says_how_it_counts() -> None:
    assert "|tok:none|smooth:exp|" in metrics.signature()


def test_ranks_count_the_candidates_that_are_nearer() -> None:
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.0, 2.0]])
    queries = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.0, 1.0], [1.0, 0.0]])
    assert metrics.ranks(queries, candidates).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("seed", range(3))
def test_beam_search_finds_what_looking_at_every_text_finds(seed: int) -> None:
    """With a beam as wide as there are texts, the best a word of all texts of up to two words;
    with one beam, the likeliest word each time."""
    vocabulary = build(["a b c"], 9)
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(word_vectors(vocabulary, 16), position_permutations(3, 16), 8, generator)
    embedding = torch.randn(5, 16, generator=generator)
    spoken = [vocabulary.index[word] for word in (*vocabulary.words[2:],)]
    texts = [[], *([i] for i in spoken), *([i, j] for i in spoken for j in spoken)]
    texts += [[i, j, k] for i in spoken for j in spoken for k in spoken]
    rows = torch.tensor([[*text, END, PAD, PAD][:3] for text in texts])
    for one, found, greedy in zip(
        embedding, decoder.decode(embedding, 100), decoder.decode(embedding), strict=True
    ):
        losses = [decoder.loss(one[None], row[None]).item() for row in rows]
        best = min(range(len(rows)), key=losses.__getitem__)
        assert torch.equal(torch.nn.functional.pad(found, (0, 3 - len(found))), rows[best])
        before: list[int] = []
        for word in greedy.tolist():
            options = [(decoder.loss(one[None], torch.tensor([[*before, END]])), END)]
            options += [(decoder.loss(one[None], torch.tensor([[*before, i]])), i) for i in spoken]
            assert word == min(options)[1]
            if word == END:
                break
            before.append(word)


def test_the_nearest_text_shares_its_rarest_words() -> None:
    texts = ["the dog sees a tree .", "the owl flies .", "the dog sees a road ."]
    assert metrics.nearest(["an owl sees the dog ."], texts) == [1]
    assert metrics.nearest([texts[2], "unheard words"], texts)[0] == 2


def test_a_face_reads_what_a_lattice_copied_across() -> None:
    generator = torch.Generator().manual_seed(0)
    faces = Faces(8, (3, 4), 5, generator)
    cells = torch.zeros(3, 4, 6, 2, 5)
    written = faces.write(cells, faces.drive(torch.randn(2, 8, generator=generator)))
    assert not cells.any()
    assert written[:, :, 0].any()
    assert not written[:, :, 1:].any()
    carried = written.flip(2)
    y = faces.read(carried)
    expected = torch.einsum("xybc,xycd->bd", carried[:, :, -1], faces.leave)
    torch.testing.assert_close(y, expected)


def test_settled_faces_are_a_ridge_regression_from_where_they_were() -> None:
    """Against the primal form, which inverts numbers of a face instead of samples."""
    random = torch.Generator().manual_seed(0)
    faces = Faces(4, (3, 2), 5, random)
    before = faces.leave.detach().flatten(0, 2).clone()
    seen = torch.randn(50, 30, generator=random)
    y = seen @ torch.randn(30, 4, generator=random)
    faces.settle(seen, y)
    penalty = 0.01 * seen.square().sum(1).mean() * torch.eye(30)
    change = torch.linalg.inv(seen.t() @ seen + penalty) @ seen.t() @ (y - seen @ before)
    torch.testing.assert_close(faces.leave.flatten(0, 2), before + change, rtol=1e-4, atol=1e-4)


def test_a_grown_face_reads_what_it_writes_as_before() -> None:
    generator = torch.Generator().manual_seed(0)
    faces = Faces(4, (4, 4), 6, generator)
    x = torch.randn(3, 4, generator=generator)

    def through() -> torch.Tensor:
        face = faces.drive(x)
        return functional.normalize(faces.read(face[:, :, None]), dim=1)

    before = through()
    faces.grow((7, 5))
    assert faces.enter.shape == (4, 7, 5, 6)
    torch.testing.assert_close(through(), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("detached", [True, False])
def test_gradients_repeat_bit_for_bit_on_several_threads(detached: bool) -> None:
    """A word that occurs often gathers its gradient from many places, in a fixed order."""
    texts = builtin.sentences(256, seed=0)
    vocabulary = build(texts, 8000)
    decoder = Decoder(
        word_vectors(vocabulary, 256),
        position_permutations(15, 256),
        32,
        torch.Generator().manual_seed(0),
    )
    target = vocabulary.ids(texts, 14)
    embedding = torch.randn(len(target), 256, generator=torch.Generator().manual_seed(0))
    embedding.requires_grad_(not detached)
    leaves = [*decoder.parameters(), *([] if detached else [embedding])]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        first = torch.autograd.grad(decoder.loss(embedding, target), leaves)
        for _ in range(10):
            again = torch.autograd.grad(decoder.loss(embedding, target), leaves)
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    finally:
        torch.set_num_threads(threads)
