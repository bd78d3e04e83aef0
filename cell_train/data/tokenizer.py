"""Text as words and back, in any script.

A word is a run of letters, marks and digits, lower-cased and composed (NFC); where a script sets
no spaces between words (Chinese, Japanese, Thai, ...), each character with its marks is one. All
else is a word of its own: a punctuation mark, a symbol, a whole emoji.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import regex

UNSPACED = (
    r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}"
    r"\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}"
)
_LETTER = rf"[[\w\p{{M}}]--[{UNSPACED}]]"
_WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}* | {_LETTER}+(?:['’]{_LETTER}+)* | (?![\s\x1c-\x1f])\X",
    regex.VERSION1 | regex.VERBOSE,
)
_ASCII_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")  # the same on ASCII, four times as fast
_UNSPACED = regex.compile(f"[{UNSPACED}]", regex.VERSION1)


def tokens(text: str) -> list[str]:
    """The words of a text."""
    lower = text.lower()
    if lower.isascii():
        return _ASCII_WORD.findall(lower)
    return _WORD.findall(unicodedata.normalize("NFC", lower))


def join(words: Sequence[str]) -> str:
    """Words as a text: one space between them, none inside a script written without.

    `tokens` gives the same words again.
    """
    parts = list(words[:1])
    for before, word in pairwise(words):
        parts += ("" if _UNSPACED.match(before) and _UNSPACED.match(word) else " ", word)
    return "".join(parts)
