"""Running text is known from a text a line, and taken apart into sentences."""

from pathlib import Path

import pytest

from cell_train.config import resolve
from cell_train.data import corpus, prose, validation
from cell_train.data.formats import Columns

BOOK = """\
It is a truth universally acknowledged, that a single man in possession of a
good fortune, must be in want of a wife.

However little known the feelings or views of such a man may be on his first
entering a neighbourhood, this truth is so well fixed in the minds of the
surrounding families, that he is considered as the rightful property of some
one or other of their daughters.

"My dear Mr. Bennet," said his lady to him one day, "have you heard that
Netherfield Park is let at last?"
"""
ARTICLE = "The cat sat. " * 30 + "\n" + "A dog ran off. It came back at 5 p.m. again. " * 20 + "\n"
CAPTIONS = "a dog runs through the grass with a ball in its mouth\ntwo men sit on a bench\n" * 50


@pytest.mark.parametrize(
    ("text", "running"),
    [
        (BOOK, True),
        (ARTICLE, True),
        (CAPTIONS, False),
        (CAPTIONS.replace("\n", "\n\n"), False),
        ("Two dogs. They run.\nA man sits. He reads.\n" * 20, False),
        ("", False),
        ("one line and no more", False),
    ],
)
def test_running_text_is_known_by_its_lines(text: str, running: bool) -> None:
    assert prose.is_running_text(text) is running


def test_lines_broken_for_the_page_become_sentences() -> None:
    found = list(prose.sentences(BOOK.splitlines()))
    assert found[0].startswith("It is a truth")
    assert found[0].endswith("must be in want of a wife.")
    assert found[-1].startswith('"My dear Mr. Bennet," said')
    assert len(found) == 3


def test_a_paragraph_without_end_is_taken_apart_in_parts() -> None:
    many = prose.BLOCK // 10
    found = list(prose.sentences("The cat sat." for _ in range(many)))
    assert set(found) == {"The cat sat."}
    assert len(found) == many


def test_markdown_is_read_without_its_marks() -> None:
    text = """# A *title*

Some **bold** words and `code`,
broken here. A [link](http://x.y) too.

- an item
- another

| a | b |
|---|---|
| 1 | 2 |

```python
print("not this")
```

<div>nor this</div>
"""
    assert list(prose.sentences(prose.plain(text))) == [
        "A title",
        "Some bold words and code, broken here.",
        "A link too.",
        "an item",
        "another",
    ]


def test_a_book_is_trained_on_sentence_by_sentence(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("\n".join(BOOK.replace("Bennet", f"Bennet {n}") for n in range(60)))
    loaded = corpus.load(str(book))
    texts = [text for part in (loaded.train, loaded.held_out) for text, _ in part]
    assert loaded.running
    assert len(texts) == 62  # two of each, and those that name a number
    assert any(text.startswith('"My dear Mr. Bennet 7,"') for text in texts)
    assert all("\n" not in text for text in texts)
    (note, *_) = validation.notes(loaded, str(book), 200)
    assert "reads as running text, taken apart into 180 sentences" in note


def test_how_a_file_is_taken_apart_can_be_said(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(BOOK)
    lines = corpus.load(str(book), Columns(split="lines"))
    assert not lines.running
    assert lines.counts.texts == len([line for line in BOOK.splitlines() if line])
    captions = tmp_path / "captions.txt"
    captions.write_text("A dog. It runs.\nA cat sits.\n")
    assert corpus.load(str(captions), Columns(split="sentences")).counts.texts == 3
    assert resolve.defaults().value("data.split") == "auto"


def test_a_markdown_file_is_running_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n\nOne. Two *words*.\n\n```\ncode\n```\n")
    assert corpus.load(str(page)).counts.texts == 3
