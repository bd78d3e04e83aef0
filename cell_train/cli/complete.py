"""What the shell offers for a half-typed word. Light: a key press waits for it."""

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
    from cell_train.config import keys

    return _beginning(incomplete, ((key.name, key.meaning) for key in keys.table().values()))


def overrides(incomplete: str) -> list[Offer]:
    """`key=` for every key, and behind it the words that may stand there."""
    from cell_train.config import keys, profiles, rules

    known = keys.table()
    name, equals, _ = incomplete.partition("=")
    if not equals:
        leaves = (key for key in known.values() if not key.is_section and key.name != "stage")
        return _beginning(incomplete, ((f"{key.name}=", key.meaning) for key in leaves))
    words = rules.words(name)
    if name == "plasticity_profile":
        words = list(profiles.load().plasticity)
    elif name in known and known[name].kind is bool:
        words = ["true", "false"]
    return _beginning(incomplete, ((f"{name}={word}", "") for word in words))


def _beginning(incomplete: str, offers: Iterable[Offer]) -> list[Offer]:
    """Offers that go on from what is typed, without what a shell might take for its own."""
    return [
        (word, _UNSAFE.sub(" ", meaning)[:LONGEST])
        for word, meaning in offers
        if word.startswith(incomplete) and not _UNSAFE.search(word)
    ]
