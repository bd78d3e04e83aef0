"""The built-in sentences and pairs. `pytest -s` prints the figures that their docstring states."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from statistics import mean

import pytest

from cell_train.data import builtin
from cell_train.errors import DataError

TRAINED = 10_000
TOTAL = 12_000


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return builtin.sentences(TOTAL, seed=0)


@pytest.fixture(scope="module")
def exchanges() -> list[tuple[str, str]]:
    return builtin.pairs(3_000, seed=0)


# --- what the generator promises ---------------------------------------------------------------


def test_sentences_are_distinct_so_that_held_out_ones_are_unseen(texts: list[str]) -> None:
    assert len(set(texts)) == TOTAL
    assert not set(texts[:TRAINED]) & set(texts[TRAINED:])


def test_a_larger_count_only_appends(texts: list[str]) -> None:
    assert builtin.sentences(700, seed=0) == texts[:700]
    assert builtin.sentences(0, seed=0) == []
    assert builtin.pairs(90, seed=5)[:40] == builtin.pairs(40, seed=5)


def test_seeds_differ(texts: list[str]) -> None:
    other = builtin.sentences(2_000, seed=1)
    assert len(set(other) & set(texts)) < 100


def test_twelve_thousand_sentences_take_less_than_two_seconds() -> None:
    start = time.process_time()
    builtin.sentences(TOTAL, seed=3)
    assert time.process_time() - start < 2


def test_asking_for_more_than_there_is_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "PATTERNS", {"only": ["the {person} bakes some {taste} pie ."]})
    with pytest.raises(DataError, match=r"end after \d+ texts of this kind, 5000 were asked for"):
        builtin.sentences(5_000, seed=0)


PINNED = {"sentences": "a68dd71db30d31ec", "pairs": "92d67a866b7e6731"}
DIGESTS = """
import hashlib, json
from cell_train.data.builtin import pairs, sentences
drawn = {"sentences": sentences(200, seed=0), "pairs": pairs(50, seed=0)}
print(json.dumps({
    name: hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    for name, texts in drawn.items()
}))
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_text_is_the_same_on_every_run(hash_seed: str) -> None:
    """A change of tables or templates changes these digests: new text means new scores."""
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    printed = subprocess.run(
        [sys.executable, "-c", DIGESTS], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == PINNED


# --- form --------------------------------------------------------------------------------------


def test_every_text_is_lowercase_words_and_one_final_mark(
    texts: list[str], exchanges: list[tuple[str, str]]
) -> None:
    for text in [*texts, *(text for exchange in exchanges for text in exchange)]:
        assert re.fullmatch(r"[a-z]+( [a-z]+)+ [.?]", text), text
        assert 6 <= len(text.split()) <= 14, text


def test_vocabulary_and_length(texts: list[str], exchanges: list[tuple[str, str]]) -> None:
    words = {word for text in texts for word in text.split()}
    lengths = [len(text.split()) for text in texts]
    asked = {word for exchange in exchanges for text in exchange for word in text.split()}
    print(f"\n{len(words)} words, {len(words | asked)} with the pairs, ", end="")
    print(f"{min(lengths)} to {max(lengths)} tokens, mean {mean(lengths):.1f}")
    assert len(words) >= 450
    assert len(words | asked) <= 900
    assert 9 <= mean(lengths) <= 10.5


def test_almost_every_word_is_seen_in_training(texts: list[str]) -> None:
    seen = {word for text in texts[:TRAINED] for word in text.split()}
    held_out = [word for text in texts[TRAINED:] for word in text.split()]
    assert sum(word not in seen for word in held_out) / len(held_out) < 0.001


def test_many_patterns_and_every_template_reads_well_often() -> None:
    assert len(builtin.PATTERNS) >= 12
    for template in (template for options in builtin.PATTERNS.values() for template in options):
        rng = random.Random(0)
        drawn = [builtin._fill(template, rng, {}) for _ in range(200)]
        assert sum(map(builtin._reads_well, drawn)) > 20, template


def test_texts_vary(texts: list[str]) -> None:
    assert len({" ".join(text.split()[:2]) for text in texts}) > 500
    assert 0.05 < sum(text.endswith("?") for text in texts) / TOTAL < 0.2


# --- English -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "word", "expected"),
    [
        ("s", "carry", "carries"),
        ("s", "play", "plays"),
        ("s", "watch", "watches"),
        ("s", "hiss", "hisses"),
        ("ed", "carry", "carried"),
        ("ed", "wrap", "wrapped"),
        ("ed", "greet", "greeted"),
        ("ed", "pick", "picked"),
        ("ed", "fix", "fixed"),
        ("ed", "hide", "hid"),
        ("en", "hide", "hidden"),
        ("en", "share", "shared"),
        ("pl", "goose", "geese"),
        ("pl", "fox", "foxes"),
        ("pl", "donkey", "donkeys"),
        ("er", "heavy", "heavier"),
        ("er", "big", "bigger"),
        ("er", "large", "larger"),
        ("er", "cheap", "cheaper"),
    ],
)
def test_endings(form: str, word: str, expected: str) -> None:
    assert builtin.FORMS[form](word) == expected


def test_articles_fit_the_next_word(texts: list[str]) -> None:
    together = " ".join(texts)
    assert not re.search(r"\ba [aeio]", together)
    assert not re.search(r"\ban (?!honest)[^aeiou]", together)
    assert "an honest" in together
    assert "an old" in together


def test_every_slot_has_words_and_every_class_is_used() -> None:
    templates = [
        *(template for options in builtin.TABLES.values() for template in options),
        *(template for options in builtin.PATTERNS.values() for template in options),
        *(template for exchange in builtin.EXCHANGES.values() for template in exchange),
    ]
    slots = [slot for template in templates for slot in builtin.SLOT.findall(template)]
    labels = {label for label, *_ in slots} - {""}
    names = {name for _, name, *_ in slots}
    assert names - labels <= set(builtin.TABLES) <= names
    assert not labels & set(builtin.TABLES)


# --- how far recall of the training text would carry -------------------------------------------


def nearest_by_tf_idf(trained: list[str], held_out: list[str]) -> list[str]:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    vectorizer = text.TfidfVectorizer(token_pattern=r"\S+")
    known = vectorizer.fit_transform(trained)
    return [trained[row] for row in (vectorizer.transform(held_out) @ known.T).toarray().argmax(1)]


def nearest_by_overlap(trained: list[str], held_out: list[str]) -> list[str]:
    """The training sentence of highest F1 over words and pairs of neighbours."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    vectorizer = text.CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), binary=True)
    known = vectorizer.fit_transform(trained)
    asked = vectorizer.transform(held_out)
    shared = (asked @ known.T).toarray()
    sizes = asked.getnnz(axis=1)[:, None] + known.getnnz(axis=1)
    return [trained[row] for row in (shared / sizes).argmax(1)]


def test_the_nearest_training_sentence_is_no_answer(texts: list[str]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    trained, held_out = texts[:TRAINED], texts[TRAINED : TRAINED + 300]
    scores = {}
    for find in (nearest_by_tf_idf, nearest_by_overlap):
        nearest = find(trained, held_out)
        bleu = sacrebleu.corpus_bleu(
            nearest, [held_out], tokenize="none", lowercase=True, force=True
        )
        scores[find.__name__] = bleu.score / 100
    print("\nBLEU", {name: round(score, 3) for name, score in scores.items()})
    assert scores["nearest_by_tf_idf"] <= 0.30
    assert scores["nearest_by_overlap"] <= 0.35


# --- question and reply ------------------------------------------------------------------------


def test_pairs_are_distinct_questions_with_statements_as_replies(
    exchanges: list[tuple[str, str]],
) -> None:
    questions = [question for question, _ in exchanges]
    assert len(set(questions)) == len(set(exchanges)) == 3_000
    assert all(question.endswith(" ?") and reply.endswith(" .") for question, reply in exchanges)


def test_replies_share_content_with_the_question_and_add_to_it(
    exchanges: list[tuple[str, str]],
) -> None:
    function_words = {"the", "in", "is", "to", "at", "on", "by", "with", "will", "your"}
    for question, reply in exchanges:
        asked, told = set(question.split()[:-1]), set(reply.split()[:-1])
        assert len((told & asked) - function_words) >= 1, (question, reply)
        assert (told - asked) - function_words, (question, reply)


def test_the_same_thing_is_always_kept_in_the_same_place(
    exchanges: list[tuple[str, str]],
) -> None:
    places = defaultdict(set)
    for _, reply in exchanges:
        if found := re.search(r"(?:keeps|saw) the (\w+) in the (\w+) \.", reply):
            places[found[1]].add(found[2])
    assert len(places) > 50
    assert all(len(kept) == 1 for kept in places.values())


@pytest.mark.parametrize(
    ("relation", "word", "expected"),
    [
        ("place", "ladder", "barn"),
        ("owner", "saw", "carpenter"),
        ("sound", "dog", "bark"),
        ("dish", "apples", "pie"),
        ("opposite", "new", "old"),
        ("opposite", "old", "new"),
        ("day_after", "sunday", "monday"),
        ("one_more", "two", "three"),
    ],
)
def test_relations(relation: str, word: str, expected: str) -> None:
    assert builtin.RELATIONS[relation][word] == expected
