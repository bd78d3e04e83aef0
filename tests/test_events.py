"""Every event is defined once, and whoever is said to show a field shows it."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal, get_args, get_origin

import pytest
from rich.console import Console

from cell_train import events
from cell_train.console import live
from cell_train.console.plain import plain
from cell_train.events import Event, kinds
from cell_train.events.kinds import KINDS, Says, fields
from cell_train.report.run_data import event_readers
from cell_train.report.run_data.story import StageStory

STAGE = {
    "stage": 1,
    "description": "small",
    "epochs": 2,
    "dimensions": [4, 4, 4],
    "connection_density": 1.0,
    "plasticity_profile": "learning",
    "budget_bytes": None,
}
EXAMPLES: dict[str, Any] = {  # where not any value of the type will do
    "grown_from": [2, 2, 2],
    "step": 3,
    "epoch": 1,
    "low": 0.1,
    "high": 2.0,
    "level": "warning",
    "primary": "bleu",
    "samples": [["in", "target", "output"]],
    **{name: [2.0, 1.0] for name in ("wavelength", "power", "null_low", "null_high")},
}
OTHERS: dict[str, Any] = {  # what is told apart from the example
    "level": "info",
    "status": "failed",
    **dict.fromkeys(("seconds", "seconds_left"), 90.0),
    **dict.fromkeys(("memory_bytes", "peak_bytes"), 1 << 33),
    "cells_per_second": 5e6,
    "samples": [["in", "target", "something else"]],
    **{name: [3.0, 2.5] for name in ("wavelength", "power", "null_low", "null_high")},
}


def example(name: str, wanted: Any, more: int = 0) -> Any:
    """A value of a type that kinds.py uses; with `more` another one."""
    known = OTHERS if more else EXAMPLES
    if name in known and (more or events.matches(known[name], wanted)):
        return deepcopy(known[name])
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return inner[0]
    if origin is list:
        return [example("", inner[0], more)] * 3
    if origin is tuple:
        return [example("", one, more) for one in inner]
    if origin is dict:
        return {"bleu": example("", inner[1], more)}
    if inner:
        return example("", inner[0], more)
    made = {int: 7 + more, float: 0.25 + more / 8, str: f"text {more}", bool: not more}
    return made.get(wanted, 0.25)


def whole(kind: str) -> Event:
    said = {name: example(name, field.type) for name, field in fields(kind).items()}
    return {"event": kind, "time": 1.0, "stage": 1, **said}


def changed(kind: str, name: str) -> Event:
    """The event with another value in one field."""
    return {**whole(kind), name: example(name, fields(kind)[name].type, 1)}


def displayed(event: Event) -> str:
    """All that the live display and plain lines show after a stage has begun with this event."""
    stream = io.StringIO()
    picture = live.Picture({1: {**STAGE, "status": "pending"}})
    view = plain([STAGE], stream, verbose=False)
    before = [{**whole("stage_start")}] if event["event"] != "stage_start" else []
    for one in [*before, event]:
        live.advance(picture, one)
        view(one)
    Console(file=stream, width=200, force_terminal=False).print(live.render(picture, 200))
    return stream.getvalue()


def reported(event: Event) -> str:
    """All that the report knows of a stage after this event."""
    story = StageStory(1, "small", "learning", (4, 4, 4), 1.0, epochs=2, steps=10)
    if event["event"] == "stage_start":  # it goes on from before some of these
        for step in range(7):
            event_readers.TAKE["step"](story, {**whole("step"), "step": step})
    if take := event_readers.TAKE.get(event["event"]):
        take(story, event)
    return repr(story)


def named(reader: Callable[[Says], bool]) -> list[tuple[str, str]]:
    return [(kind, n) for kind in KINDS for n, said in fields(kind).items() if reader(said)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_display_shows_just_the_fields_it_is_said_to(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 2e9)  # it shows how long the run has gone on
    shown = {n for n in fields(kind) if displayed(whole(kind)) != displayed(changed(kind, n))}
    assert shown == {name for name, said in fields(kind).items() if said.display}


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_reads_just_the_fields_it_is_said_to(kind: str) -> None:
    read = {n for n in fields(kind) if reported(whole(kind)) != reported(changed(kind, n))}
    assert read == {name for name, said in fields(kind).items() if said.report}


def test_no_reader_reads_a_kind_that_says_nothing_to_it() -> None:
    assert set(event_readers.TAKE) == {kind for kind, _ in named(lambda said: said.report)}


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_comes_through_the_border_as_it_was_sent(kind: str) -> None:
    told = {name: value for name, value in whole(kind).items() if name in fields(kind)}
    stream = io.StringIO()
    events.write(stream, KINDS[kind](**told), 4)
    read = events.parse(stream.getvalue())
    assert read is not None
    assert events.sound(read)
    assert read | {"time": 0} == {"event": kind, "time": 0, "stage": 4, **told}


@pytest.mark.parametrize(("kind", "name"), named(lambda _: True))
def test_a_field_of_another_type_is_not_sound(kind: str, name: str) -> None:
    wrong: Any = {"not": ["of", "it"]} if fields(kind)[name].type is not Any else None
    if events.matches(wrong, fields(kind)[name].type):
        wrong = [[["nor", "this"]]]
    assert not events.sound({**whole(kind), name: wrong})


@pytest.mark.parametrize("kind", [name for name, one in KINDS.items() if one.to_metrics])
def test_every_number_of_a_figure_is_in_metrics_and_on_the_board(kind: str) -> None:
    event = whole(kind)
    flat, figures = events.flat(event), events.figures(event)
    for name, said in fields(kind).items():
        leaves = [key for key in flat if key == name or key.startswith(f"{name}.")]
        assert leaves or name in ("metrics", "samples"), name
        drawn = {key for key in leaves if isinstance(flat[key], (int, float))}
        assert drawn & figures.keys() == (set() if said.place else drawn)
    assert "samples" not in flat or kind == "stage_end"
    assert ("metrics" not in fields(kind)) or flat["bleu"] == 0.25


def test_what_a_field_is_left_out_of_is_not_written() -> None:
    told = kinds.Morphology(epoch=0, slope=None)
    assert events.record(told) == {"event": "morphology", "epoch": 0, "slope": None}
    assert json.dumps(events.stamped(told, 2)).startswith('{"event": "morphology", "time"')
