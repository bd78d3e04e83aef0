"""What the YAML parser could not go on after, said so that a person can mend it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from yaml.reader import Reader

from cell_train.errors import Place, Problem

_NO_COLON = re.compile(  # epochs:3, epochs = 3, epochs 3, and with the colon of full width
    r"(\s*[A-Za-z_]\w*)(?:(?::(?=[^\s/])|\s*[=\uff1a]|\s+(?=[^\s:#]))\s*([^:]*))"
)
_CONFLICT = re.compile(r"(<{7}|>{7}) .*|={7}")  # what git leaves in a file it could not merge
_FIXES = {  # part of what the parser says -> how to mend it
    "mapping values are not allowed": "quote text that holds ': ', and indent sections alike",
    "could not find expected ':'": "write key: value, with a space after the colon",
    "did not find expected key": "indent keys of a section alike, and quote text with ' or \"",
    "expected ',' or ']'": "close it with ]",
    "expected ',' or '}'": "close it with }",
    "unexpected end of stream": "close it with the quote that opened it",
    "cannot start any token": "quote text that begins so",
}


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def mended(line: str) -> str | None:
    """A line that cannot be read as it was meant, or None where that is not clear."""
    if "{{" in line:
        return ""
    match = _NO_COLON.fullmatch(line)
    return f"{match[1]}: {match[2]}" if match else None


def template_fix(place: Place) -> str:
    return "fill in what {{ }} stands for" if "{{" in place.text else ""


def problem(
    error: yaml.MarkedYAMLError, lines: Sequence[str], at: Callable[[Any], Place]
) -> Problem:
    """What the parser could not go on after, placed where a person mends it."""
    said = error.problem or "is not YAML"
    fix = next((fix for part, fix in _FIXES.items() if part in said), "")
    context = error.context or ""
    if ("flow" in context or "quoted" in context) and error.context_mark:
        what = "quote" if "quoted" in context else "bracket"
        return Problem(at(error.context_mark), f"this {what} is not closed", fix)
    for number, text in enumerate(lines, 1):
        if _CONFLICT.fullmatch(text):
            here = Place(at(None).name, number, 1, text)
            fix = "keep one of the two sides, and delete the lines of <, = and >"
            return Problem(here, "a merge has left a conflict here", fix)
    place = at(error.problem_mark)
    last = min(place.line, len(lines))  # the parser notices a line late
    for line in range(last, max(last - 3, 0), -1):
        text = lines[line - 1]
        if _NO_COLON.fullmatch(text):
            here = Place(place.name, line, len(indent_of(text)) + 1, text)
            return Problem(here, "this line is no key: value", "write a colon and a space")
    if context and error.context_mark:
        said = f"{context} begun on line {error.context_mark.line + 1}, {said}"
    return Problem(place, said, fix)


def unreadable(error: yaml.YAMLError, lines: Sequence[str], name: str) -> Problem:
    """A character that YAML does not allow, or another reason that has no place."""
    for number, line in enumerate(lines, 1):
        if found := Reader.NON_PRINTABLE.search(line):
            place = Place(name, number, found.start() + 1, line)
            message = f"character U+{ord(found[0]):04X} is not allowed"
            return Problem(place, message, "remove it; is this a text file?")
    return Problem(Place(name), f"is not YAML: {str(error).splitlines()[0]}")
