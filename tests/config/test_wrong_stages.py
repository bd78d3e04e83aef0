"""Wrong stage files: each gives all its errors, on the right lines, with the right suggestions."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cell_train.config import validation
from cell_train.config.yaml import suggestions as meant
from cell_train.errors import Problem

ENOUGH = 0.95  # of the suggestions for misspelt words
NAMES = "abc"


@dataclass(frozen=True)
class Expected:
    file: str
    line: int  # 0: none
    key: str  # "": none
    meant: str = ""  # the word that must be suggested
    fix: str = ""  # what the fix must hold


@dataclass
class Case:
    name: str
    files: dict[str, str] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)


def _expected(text: str) -> Expected:
    place, _, rest = text.partition(" ")
    rest, _, fix = rest.partition(" = ")
    key, _, meant = rest.partition(" ? ")
    file, _, line = place.rpartition(".")
    return Expected(file or "a", int(line) if line != "-" else 0, key.strip("-"), meant, fix)


def _cases() -> list[Case]:
    found = []
    for part in Path(__file__).with_name("wrong_stages.txt").read_text().split("\n=== ")[1:]:
        name, _, body = part.partition("\n")
        case, lines = Case(name), body.strip("\n").split("\n")
        written = "\n".join(line for line in lines if not line.startswith("> "))
        for file, text in zip(NAMES, written.replace("→", "\t").split("\n+++\n"), strict=False):
            case.files[file] = f"{text}\n"
        case.expected = [_expected(line[2:]) for line in lines if line.startswith("> ")]
        found.append(case)
    return found


CASES = _cases()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Problem]]:
    """All problems of each case by its name."""
    problems = {}
    for case in CASES:
        folder = tmp_path_factory.mktemp("wrong")
        paths = [folder / f"{file}.yaml" for file in case.files]
        for path in paths:
            path.write_text(case.files[path.stem])
        problems[case.name] = validation.check(paths, None, {})
    return problems


def _fixes(problems: list[Problem]) -> dict[tuple[str, int, str], str]:
    """(file, line, key) -> the fix of each problem."""
    return {(Path(one.place.name).stem, one.place.line, one.key): one.fix for one in problems}


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
    assert sum(bool(one.meant) for case in CASES for one in case.expected) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_error_is_reported_where_it_is(case: Case, found: dict[str, list[Problem]]) -> None:
    problems = found[case.name]
    fixes = _fixes(problems)
    wanted = {(one.file, one.line, one.key): one.fix for one in case.expected}
    assert sorted(fixes) == sorted(wanted)
    assert len(problems) == len(case.expected)
    assert all(fix in fixes[place] for place, fix in wanted.items())
    assert all(one.place.column > 0 for one in problems if one.place.line)


def test_suggestions_for_misspelt_words(found: dict[str, list[Problem]]) -> None:
    """Run with -s to see the share."""
    wanted, missed = 0, []
    for case in CASES:
        fixes = _fixes(found[case.name])
        for one in case.expected:
            wanted += bool(one.meant)
            fix = fixes.get((one.file, one.line, one.key))
            if one.meant and fix != f"did you mean {one.meant}?":
                missed.append((one, fix))
    print(f"{wanted - len(missed)} of {wanted} suggestions are right; missed: {missed}")
    assert len(missed) <= (1 - ENOUGH) * wanted, missed


def test_a_word_too_long_for_a_slip_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing takes the square of its length: a minute for a million characters."""
    monkeypatch.setattr(difflib, "SequenceMatcher", None)
    for word in ("x" * 200, "lattice.dimen" + "x" * 200):
        assert meant.meant(word, ["lattice.dimensions"]) == ""
        assert meant.nearest(word, ["epochs"]) == ""
