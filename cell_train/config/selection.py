"""Which stages a run takes: `3`, `1-5`, `1,3-4`, `3-` and `-2`."""

import re
from collections.abc import Collection, Iterable

from cell_train.errors import ConfigError

_PART = re.compile(r"(?P<only>\d{1,6})|(?P<first>\d{0,6})-(?P<last>\d{0,6})")


def parse(text: str | None, known: Collection[int], optional: Collection[int] = ()) -> list[int]:
    """Stage numbers in ascending order, each once.

    `optional` stages run only where a number names them: neither the default (`text` None) nor an
    open end reaches one. Raises ConfigError naming the part that is wrong, or the missing stage.
    """
    usual = [number for number in known if number not in optional]
    if text is None:
        return _expand("-", usual or list(known), known, "the stage folder")
    chosen: set[int] = set()
    for part in text.split(","):
        chosen.update(_expand(part.strip(), usual, known, f"--stages {text}"))
    return sorted(chosen)


def _expand(part: str, usual: list[int], known: Collection[int], said: str) -> list[int]:
    match = _PART.fullmatch(part)
    if match is None or (part == "-" and said.startswith("--stages")):
        raise ConfigError(f"{said}: {part!r} is no stage or range; write 3, 1-5, 1,3-4, 3- or -2.")
    if match["only"]:
        wanted: Iterable[int] = [int(match["only"])]
    else:
        first = int(match["first"]) if match["first"] else min(usual, default=1)
        last = int(match["last"]) if match["last"] else max([*usual, first])
        if first > last:
            raise ConfigError(
                f"{said}: {part!r} runs backwards; write {last}-{first}."
                if match["last"] and match["first"]
                else f"{said}: {part!r} holds no stage; there are {_listed(known)}."
            )
        wanted = range(first, last + 1)
    for number in wanted:
        if number not in known:
            raise ConfigError(
                f"{said}: {_within(part, number)} is not there; there are stages {_listed(known)}."
            )
    return list(wanted)


def _within(part: str, number: int) -> str:
    return f"stage {number}" if part in ("-", str(number)) else f"stage {number} of {part!r}"


def _listed(known: Collection[int]) -> str:
    return ", ".join(str(number) for number in sorted(known))
