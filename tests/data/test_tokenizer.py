"""Words of any script, and text made of them again."""

from hypothesis import given
from hypothesis import strategies as st

from cell_train.data import tokenizer
from cell_train.tasks.text.vocabulary import END, PAD, UNKNOWN, build

TEXTS = {
    "Ein schöner Tag 🎉 в москве, don't!": [
        "ein",
        "schöner",
        "tag",
        "🎉",
        "в",
        "москве",
        ",",
        "don't",
        "!",
    ],
    "今日はラーメンを食べた。": list("今日はラーメンを食べた。"),
    "สวัสดี": ["ส", "วั", "ส", "ดี"],
    "हिन्दी में": ["हिन्दी", "में"],
    "مَرْحَبًا بِكَ": ["مَرْحَبًا", "بِكَ"],
    "한국어 문장": ["한국어", "문장"],
    "e\u0301tat": ["\u00e9tat"],
    "👩‍👩‍👧 🇩🇪 👍🏽 ok❤️": ["👩‍👩‍👧", "🇩🇪", "👍🏽", "ok", "❤️"],
}


def test_words_are_what_each_script_calls_words() -> None:
    assert {text: tokenizer.tokens(text) for text in TEXTS} == TEXTS


@given(st.text())
def test_a_text_made_of_words_has_these_words(text: str) -> None:
    found = tokenizer.tokens(text)
    assert tokenizer.tokens(tokenizer.join(found)) == found
    assert sum(map(len, found)) > 0 or not text.strip()


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_is_the_same(text: str) -> None:
    assert tokenizer.tokens(text) == tokenizer._WORD.findall(text.lower())


def test_no_space_inside_a_script_without() -> None:
    assert (
        tokenizer.join(tokenizer.tokens("今日はラーメンを食べた。")) == "今日はラーメンを食べた。"
    )
    assert tokenizer.join(tokenizer.tokens("The  dog, 犬!")) == "the dog , 犬 !"


def test_what_the_vocabulary_knows_comes_back() -> None:
    vocabulary = build(TEXTS, 100)
    ids = vocabulary.ids(TEXTS, 20)
    assert vocabulary.texts(ids) == list(TEXTS.values())
    assert not (ids == UNKNOWN).any()


def test_long_texts_are_cut_and_rare_words_become_unknown() -> None:
    vocabulary = build(["a a a b b c"], 5)
    assert vocabulary.words[3:] == ("a", "b")
    ids = vocabulary.ids(["a b c a b"], 3)
    assert ids.tolist() == [[3, 4, UNKNOWN, END]]
    assert vocabulary.ids(["a"], 3).tolist() == [[3, END, PAD, PAD]]
