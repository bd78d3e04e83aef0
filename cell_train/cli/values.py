"""Values of options that need no reading.

From 0.29 on Typer reads every value by pydantic, also a default and text that stays text; importing
pydantic costs half as much as all else that `celltrain plan` does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any


def kept_plain(parameters: list[Any]) -> list[Any]:
    """The parameters of a command, the optional ones taking plain values as they are."""
    for one in parameters:
        if not one.required and "process_value" not in vars(one):
            one.process_value = partial(_value, one, one.process_value)
    return parameters


def _value(parameter: Any, read: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    several = parameter.multiple or parameter.nargs == -1
    described = getattr(parameter, "type_descriptor", None)  # before 0.29 there is none to avoid
    texts = value if several else [value]
    plain = value is None or value is parameter.default
    if not plain and getattr(described, "annotation", None) == (list[str] if several else str):
        plain = all(type(text) is str for text in texts)
    if not plain:
        return read(context, value)
    kept = () if several and value is None else value
    if parameter.callback is None:
        return kept
    return parameter.callback(context, parameter, kept)
