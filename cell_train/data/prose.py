"""Running text: books, articles and Markdown, taken apart into sentences."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

MARKDOWN = (".md", ".markdown")
LOOKED_AT = 1 << 18  # characters from which it is judged whether a file is running text
LONG = 40  # words: a line of more is a paragraph
MANY_LONG = 0.2  # of the lines
WRAPPED = 40  # characters that lines broken for the page have at least, in the mean
GOING_ON = 0.3  # of the lines begin in the middle of a sentence
BLOCK = 1 << 16  # characters of a paragraph that are taken apart at once

_ENDED = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*$")


def is_running_text(text: str) -> bool:
    """Whether `text`, the beginning of a file, is paragraphs rather than a text a line.

    It is where many lines are longer than a sentence; and where lines are broken for the page:
    blank lines stand between paragraphs, and many lines begin where the line before broke off.
    """
    every = [line.strip() for line in text.splitlines()]
    lines = [line for line in every if line]
    if not lines:
        return False
    if sum(len(line.split()) > LONG for line in lines) > MANY_LONG * len(lines):
        return True
    if len(every) == len(lines) or sum(map(len, lines)) < WRAPPED * len(lines):
        return False
    going_on = sum(
        bool(before and line and line[0].islower() and not _ENDED.search(before))
        for before, line in pairwise(every)
    )
    return going_on > GOING_ON * len(lines)


def sentences(lines: Iterable[str]) -> Iterator[str]:
    """The sentences of paragraphs that blank lines stand between, one line each."""
    from sentencex import segment  # late: only running text needs it

    for paragraph in _paragraphs(lines):
        for sentence in segment("en", paragraph):  # its rules hold for most scripts
            if words := " ".join(sentence.split()):
                yield words


def plain(markdown: str) -> Iterator[str]:
    """The lines of a Markdown text without its marks; code, tables and HTML are left out.

    A blank line follows every paragraph, heading and item.
    """
    from markdown_it import MarkdownIt  # late: only Markdown needs it

    inside_table = False
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("table_open", "table_close"):
            inside_table = token.type == "table_open"
        elif token.type == "inline" and not inside_table:
            yield "".join(
                " " if child.type in ("softbreak", "hardbreak") else child.content
                for child in token.children or ()
                if child.type in ("text", "code_inline", "softbreak", "hardbreak")
            )
            yield ""


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined up to the next blank one, or to as much as is taken apart at once."""
    parts: list[str] = []
    size = 0
    for line in lines:
        if stripped := line.strip():
            parts.append(stripped)
            size += len(stripped) + 1
        if parts and (not stripped or size >= BLOCK):
            yield " ".join(parts)
            parts, size = [], 0
    if parts:
        yield " ".join(parts)
