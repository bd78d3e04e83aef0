"""The layers a person sets for one run: environment variables and key=value words."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from cell_train.config import layers, typed, yaml_tree
from cell_train.config.layers import Layer
from cell_train.config.schema import Stage
from cell_train.config.stage_file import MOVED, move, profile_problems
from cell_train.config.yaml_tree import Node
from cell_train.errors import ConfigError
from cell_train.extensions import TRUST

ENVIRONMENT_PREFIX = "CELLTRAIN_"

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
    known = dict(typed.keys(Stage))
    wrong: list[str] = []
    found: list[Layer] = []
    for root in (_environment(environment, known, wrong), _command_line(words, known, wrong)):
        for old, new in MOVED.items():
            wrong += move(root, old, new)
        wrong += typed.problems(root, Stage)
        wrong += profile_problems(root, plasticity_names)
        if not wrong:
            found.append(Layer(typed.values(root, Stage), typed.sources(root, Stage)))
    if wrong:
        raise ConfigError("\n".join(wrong))
    if preset:
        found.insert(1, layers.layer(preset, PRESET))
    return found


def _environment(
    environment: Mapping[str, str], known: Mapping[str, Any], wrong: list[str]
) -> Node:
    root = Node({}, "environment", "environment")
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == TRUST:
            continue
        dotted = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
        where = f"environment variable {variable}"
        _place(root, dotted, text, known, where, f"env {variable}", wrong)
    return root


def _command_line(words: Iterable[str], known: Mapping[str, Any], wrong: list[str]) -> Node:
    root = Node({}, COMMAND_LINE, COMMAND_LINE)
    for word in words:
        dotted, equals, text = word.partition("=")
        if not equals or not dotted.strip():
            wrong.append(f"{COMMAND_LINE}: {word!r} is no override; write key=value.")
            continue
        _place(root, dotted.strip(), text, known, COMMAND_LINE, COMMAND_LINE, wrong)
    return root


def _place(
    root: Node,
    dotted: str,
    text: str,
    known: Mapping[str, Any],
    where: str,
    source: str,
    wrong: list[str],
) -> None:
    """Put one override into a tree, its text read as the key's type wants it."""
    if dotted == "stage":
        wrong.append(f"{where}: stage cannot be overridden, it names the stage; use --stages.")
        return
    if dotted not in known and dotted not in MOVED:
        guess = typed.nearest(dotted, [*known, *MOVED])
        wrong.append(f"{where}: unknown key {dotted!r}{guess}.")
        return
    try:
        if typed.options(known.get(dotted))[0] is str:
            node = Node(text, where, source, text=text)
        else:
            node = _renamed(yaml_tree.parse(text or "null", where, located=False), source)
    except ConfigError:
        wrong.append(f"{where}: {dotted} cannot be {text!r}, which is not a YAML value.")
        return
    *sections, name = dotted.split(".")
    for section in sections:
        inner = root.value.get(section)
        if inner is None or not isinstance(inner.value, dict):
            inner = root.value[section] = Node({}, where, source, where)
        root = inner
    root.value[name] = replace(node, key_where=where)


def _renamed(node: Node, source: str) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _renamed(child, source) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_renamed(child, source) for child in value]
    return replace(node, value=value, source=source)
