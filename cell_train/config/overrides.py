"""The layers a person sets for one run: environment variables and key=value words."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cell_train.config import binding, layers
from cell_train.config.layers import Layer
from cell_train.config.schema import Stage
from cell_train.config.stage_file import MOVED, sound_tree
from cell_train.config.yaml import nodes
from cell_train.config.yaml.nodes import Node
from cell_train.config.yaml.suggestions import did_you_mean, meant
from cell_train.errors import Place, Problem, collecting
from cell_train.plugins import TRUST

ENVIRONMENT_PREFIX = "CELLTRAIN_"
# what Kubernetes and Docker set for every service or link whose name begins with celltrain
ORCHESTRATOR = re.compile(
    r"CELLTRAIN_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)

COMMAND_LINE = "command line"
PRESET = "--smoke"


def is_override(source: str) -> bool:
    """Whether a value's source is one of the layers made here."""
    return source in (COMMAND_LINE, PRESET) or source.startswith("env ")


def read(
    words: Iterable[str],
    environment: Mapping[str, str],
    plasticity_names: Collection[str],
    preset: Mapping[str, Any] | None = None,
) -> list[Layer]:
    """The layers above the profile: environment, then `preset` (a flag's), then key=value words.

    Raises ConfigError with every problem in them.
    """
    with collecting() as wrong:
        variables = _tree(_variables(environment), plasticity_names, wrong)
        line = _tree(_words(words, wrong), plasticity_names, wrong)
    return [variables, *([layers.layer(preset, PRESET)] if preset else []), line]


@dataclass(frozen=True)
class _Override:
    """One key and the text of its value, as they were written."""

    key: str
    text: str
    place: Place
    source: str


def _variables(environment: Mapping[str, str]) -> Iterator[_Override]:
    for variable, text in sorted(environment.items()):
        ours = variable.startswith(ENVIRONMENT_PREFIX) and variable != TRUST
        if ours and not ORCHESTRATOR.fullmatch(variable):
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            place = Place(f"environment variable {variable}", text=f"{variable}={text}")
            yield _Override(key, text, place, f"env {variable}")


def _words(words: Iterable[str], wrong: list[Problem]) -> Iterator[_Override]:
    for word in words:
        key, equals, text = word.partition("=")
        place = Place(COMMAND_LINE, text=word)
        if equals and key.strip():
            yield _Override(key.strip(), text, place, COMMAND_LINE)
        else:
            wrong.append(Problem(place, f"{word!r} is no override", "write key=value"))


def _tree(
    overrides: Iterable[_Override], plasticity_names: Collection[str], wrong: list[Problem]
) -> Layer:
    root = Node({}, Place(""), "")
    known = dict(binding.keys(Stage))
    for override in overrides:
        _put(root, override, known, wrong)
    sound = sound_tree(root, plasticity_names, wrong)
    return Layer(
        binding.values(sound, Stage), binding.sources(sound, Stage), binding.places(sound, Stage)
    )


def _put(root: Node, override: _Override, known: Mapping[str, Any], wrong: list[Problem]) -> None:
    """Put one override into a tree, its text read as the key's type wants it."""
    key, text, place = override.key, override.text, override.place
    at_value = replace(place, column=len(place.text) - len(text) + 1)
    if key == "stage":
        message = "stage cannot be overridden, it names the stage"
        wrong.append(Problem(place, message, "use --stages", key))
        return
    if key not in known and key not in MOVED:
        guess = did_you_mean(meant(key, [*known, *MOVED]))
        wrong.append(Problem(place, f"unknown key {key!r}", guess, key))
        return
    node: Node | None
    if binding.options(known.get(key))[0] is str:
        node = Node(text, at_value, override.source, text=text)
    else:
        unread: list[Problem] = []
        node = nodes.parse(text or "null", COMMAND_LINE, unread)
        if node is None or unread:
            message = f"{key} cannot be {text!r}, which is not a YAML value"
            wrong.append(Problem(at_value, message, key=key))
            return
    node = _placed(node, at_value, override.source)
    *sections, name = key.split(".")
    for section in sections:
        inner = root.value.get(section)
        if inner is None or not isinstance(inner.value, dict):
            inner = root.value[section] = Node({}, at_value, override.source, place)
        root = inner
    root.value[name] = replace(node, key_where=place)


def _placed(node: Node, place: Place, source: str) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(child, place, source) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_placed(child, place, source) for child in value]
    return replace(node, value=value, where=place, source=source, key_where=place)
