"""What the shell offers for a half-typed word. Light: a key press waits for it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import typer

from cell_train.errors import ConfigError

LONGEST = 60  # characters of a description: more would be broken into lines
_UNSAFE = re.compile(r"[^\w .,=+/-]")

Offer = tuple[str, str]
"""(the word, what it is)"""


def stages(context: typer.Context, incomplete: str) -> list[Offer]:
    """Stage numbers with their descriptions, also behind a comma or a dash."""
    from cell_train.config import profiles, stage_file

    folder = context.params.get("stages_dir")
    try:
        paths = stage_file.paths(Path(folder) if folder else stage_file.built_in_folder())
        found = stage_file.read_all(paths, profiles.load().plasticity, [])
    except ConfigError:
        return []
    begun = incomplete.rstrip("0123456789")
    words = ((f"{begun}{n}", str(file.values["description"])) for n, file in found.items())
    return _beginning(incomplete, words)


def memory_profiles(context: typer.Context, incomplete: str) -> list[Offer]:
    """Names of memory-budget profiles, the user's among them."""
    from cell_train.config import profiles

    own = context.params.get("profiles")
    try:
        tables = profiles.load(Path(own) if own else None)
    except ConfigError:
        tables = profiles.load()
    names = [*tables.memory, profiles.CPU, profiles.FIT]
    return _beginning(incomplete, ((name, "") for name in names))


def keys(incomplete: str) -> list[Offer]:
    """Keys of a stage, sections among them."""
    from cell_train.config.reference import keys

    return _beginning(incomplete, ((key.name, key.meaning) for key in keys.table().values()))


def overrides(incomplete: str) -> list[Offer]:
    """`key=` for every key, and behind it the words that may stand there."""
    from cell_train.config.reference import keys

    name, equals, _ = incomplete.partition("=")
    if equals:
        return _beginning(incomplete, ((f"{name}={word}", "") for word in _values(name)))
    if name := _split_by_bash():
        return _beginning(incomplete, ((word, "") for word in _values(name)))
    leaves = (key for key in keys.table().values() if not key.is_section and key.name != "stage")
    return _beginning(incomplete, ((f"{key.name}=", key.meaning) for key in leaves))


def _split_by_bash() -> str:
    """The key before the sign, where bash has split `key=value` and gives only what follows."""
    last = int(os.environ.get("COMP_CWORD", 0))
    words = os.environ.get("COMP_WORDS", "").split("\n")[: last + 1]
    if words[-1] != "=":
        words.pop()  # what is typed of the value
    return words[-2] if len(words) > 1 and words[-1] == "=" else ""


def _values(name: str) -> list[str]:
    """The words that may stand at a key, where they can be counted."""
    from cell_train.config import constraints, profiles
    from cell_train.config.reference import keys

    key = keys.table().get(name)
    if key is None:
        return []
    if name == "plasticity_profile":
        return list(profiles.load().plasticity)
    return ["true", "false"] if key.kind is bool else constraints.words(name)


def _beginning(incomplete: str, offers: Iterable[Offer]) -> list[Offer]:
    """Offers that go on from what is typed, without what a shell might take for its own."""
    return [
        (word, _UNSAFE.sub(" ", meaning)[:LONGEST])
        for word, meaning in offers
        if word.startswith(incomplete) and not _UNSAFE.search(word)
    ]
