"""Text: reading and splitting files, the code and its decoder, and the scores."""

import os
import random
from pathlib import Path

import pytest
import torch

from cell_train.errors import DataError
from cell_train.tasks.faces import Faces
from cell_train.tasks.text import builtin, corpus, metrics
from cell_train.tasks.text.decoder import Decoder
from cell_train.tasks.text.encoder import (
    LearnedEncoder,
    VsaEncoder,
    position_permutations,
    word_vectors,
)
from cell_train.tasks.text.vocabulary import END, PAD, UNKNOWN, Vocabulary, build

LINES = [
    f"the {a} {b} sees a {c} ."
    for a in ["red", "old", "sad"]
    for b in ["dog", "cat", "owl"]
    for c in ["house", "tree", "boat", "road"]
]


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_a_text_never_changes_sides_as_the_file_grows(tmp_path: Path) -> None:
    lines = builtin.sentences(2000, seed=1)
    small = corpus.load(write(tmp_path / "small.txt", "\n".join(lines[:500])))
    large = corpus.load(write(tmp_path / "large.txt", "\n".join(lines)))
    assert {pair[0] for pair in small.held_out} <= {pair[0] for pair in large.held_out}
    assert not {pair[0] for pair in large.train} & {pair[0] for pair in large.held_out}
    assert len(large.held_out) == pytest.approx(200, abs=50)
    assert large.train[: len(small.train)] == small.train


def test_a_file_that_is_no_text_is_named_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = write(tmp_path / "endless.txt", "a dog\n" + "x" * (corpus.MAX_LINE + 1))
    with pytest.raises(DataError, match=r"endless\.txt:2: a line longer than 1 MiB"):
        corpus.load(endless)
    monkeypatch.setattr(corpus, "MAX_FILE", 1 << 10)
    with pytest.raises(DataError, match="at most"):
        corpus.load(endless)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match="is no file"):
        corpus.load(str(tmp_path / "pipe.txt"))


def test_texts_equal_up_to_case_and_spaces_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "d.txt", "A dog barks .\na  dog barks.\n\nThe cat sleeps .\n")
    loaded = corpus.load(path)
    assert loaded.duplicates == 1
    assert len(loaded.train) + len(loaded.held_out) == 2


def test_replies_are_targets(tmp_path: Path) -> None:
    rows = [f'{{"text": "where is it {i}", "reply": "it is there {i}"}}' for i in range(60)]
    loaded = corpus.load(write(tmp_path / "d.jsonl", "\n".join(rows)))
    assert loaded.train[0][1].startswith("it is there")
    alone = corpus.load(write(tmp_path / "e.jsonl", '{"text": "one two"}'))
    assert (alone.train + alone.held_out) == [("one two", "one two")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", "", "holds no text"),
        ("blank.txt", "\n  \n", "holds no text"),
        ("latin.txt", "caf\xe9\n".encode("latin-1"), r"latin.txt:1:4: byte 0xe9 is not UTF-8"),
        ("nul.txt", "one\ntwo\0three\n", r"nul.txt:2: a NUL byte"),
        ("few.txt", "one two\nthree four\n", "fewer than one batch"),
        ("same.txt", "one two\n" * 500, "1 different texts"),
        ("bad.jsonl", '{"text": "a"}\n{oops\n', r"bad.jsonl:2: not JSON"),
        ("key.jsonl", '{"txt": "a"}\n', r"key.jsonl:1: no string under 'text'"),
        ("deep.jsonl", "[" * 100_000, r"deep.jsonl:1: not JSON"),
        ("table.xlsx", "x", "'.xlsx'"),
    ],
)
def test_a_bad_file_is_refused_with_one_located_sentence(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=says) as caught:
        corpus.check(path, batch_size=32)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        corpus.check(str(tmp_path / "nowhere.txt"), 32)


@pytest.mark.parametrize("path", ["builtin", "builtin:pairs"])
def test_the_built_in_data_pass_their_own_check(path: str) -> None:
    corpus.check(path, 32)


def test_words_of_any_script_and_symbols_survive() -> None:
    text = "Ein schöner Tag 🎉 在 москва , don't !"
    vocabulary = build([text], 100)
    assert vocabulary.texts(vocabulary.ids([text], 20)) == [
        "ein schöner tag 🎉 在 москва , don't !"
    ]


def test_long_texts_are_cut_and_rare_words_become_unknown() -> None:
    vocabulary = build(["a a a b b c"], 5)
    assert vocabulary.words[3:] == ("a", "b")
    ids = vocabulary.ids(["a b c a b"], 3)
    assert ids.tolist() == [[3, 4, UNKNOWN, END]]
    assert vocabulary.ids(["a"], 3).tolist() == [[3, END, PAD, PAD]]


def test_an_untrained_decoder_already_inverts_the_code() -> None:
    """Ten words superposed in 256 numbers: permuting back finds nearly all of them."""
    vocabulary = build(builtin.sentences(2000, seed=0), 8000)
    texts = builtin.sentences(2200, seed=0)[2000:]
    encoder = VsaEncoder(vocabulary, 256, 15)
    decoder = Decoder(
        word_vectors(vocabulary, 256),
        position_permutations(15, 256),
        32,
        torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        decoder.project.weight.zero_()
    outputs = vocabulary.texts(decoder.decode(encoder(vocabulary.ids(texts, 14))))
    assert metrics.bleu(outputs, texts) > 0.6
    shuffled = random.Random(0).sample(texts, len(texts))
    assert metrics.bleu(outputs, shuffled) < 0.1


def test_the_code_tells_word_order_apart_and_has_unit_variance() -> None:
    vocabulary = build(["dog bites man"], 100)
    encoder = VsaEncoder(vocabulary, 512, 5)
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
    learned = LearnedEncoder(vocabulary, 32, torch.Generator().manual_seed(0))
    for encoder in (VsaEncoder(vocabulary, 32, 13), learned):
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
    outputs = vocabulary.texts(decoder.decode(noise))
    assert all(line.startswith("the ") and line.endswith(" .") for line in outputs)


def test_the_decoder_has_the_parameters_its_docstring_counts() -> None:
    v, d, h = 50, 32, 16
    decoder = Decoder(
        torch.randn(v, d), position_permutations(5, d), h, torch.Generator().manual_seed(0)
    )
    expected = v * (d + 1) + 1 + 3 * h * (2 * d + h + 2) + d * (h + 1)
    assert sum(p.numel() for p in decoder.parameters()) == expected


def test_bleu_is_one_for_the_reference_and_near_zero_for_other_words() -> None:
    assert metrics.bleu(LINES, [line.upper() for line in LINES]) == pytest.approx(1.0)
    assert metrics.bleu(["x y z w v u"] * len(LINES), LINES) < 0.01


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


def test_grown_faces_still_transmit() -> None:
    """Writing and reading through the same face stays the map it was, up to interpolation."""
    generator = torch.Generator().manual_seed(0)
    faces = Faces(4, (4, 4), 6, generator)
    with torch.no_grad():  # smooth maps, as a grown lattice has them
        faces.enter.copy_(faces.enter.mean((1, 2), keepdim=True).expand_as(faces.enter))
        faces.leave.copy_(faces.leave.mean((0, 1), keepdim=True).expand_as(faces.leave))
    x = torch.randn(3, 4, generator=generator)

    def through() -> torch.Tensor:
        face = faces.drive(x)
        return faces.read(face[:, :, None])

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
