"""The page: one HTML file that holds a trained lattice and runs it.

It asks nothing of the network. Whatever comes from the run folder is escaped where it enters HTML,
and the page forbids the browser to run or load anything but its own script and style, which it
names by their hashes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from cell_train._version import __version__
from cell_train.errors import NotSaved
from cell_train.formatting import shape
from cell_train.play.numbers import packed
from cell_train.report import prose
from cell_train.report.page import policy
from cell_train.report.run_data.story import StageStory, Story
from cell_train.storage import write_text

PARTS = Path(__file__).with_name("assets")
SCRIPTS = (
    *("rule.js", "gpu.js", "text.js", "grow.js", "world.js"),  # what lives
    *("view.js", "look.js", "chart.js", "play.js"),  # what is seen of it
)
LONGEST = 2_000  # letters of a sentence typed
COLOURS = ("state", "strength", "change")
SCORES = {  # kind of task -> what its curve is
    "text": "cosine of what comes out with what went in",
    "grow": "share of the shape that is there (intersection over union)",
}
PAINTING = {"grow": "puts the seed's state on cells"}  # where it is not a random one

Portable = Mapping[str, Any]


def write(path: Path, story: Story, number: int, portable: Portable) -> None:
    """Write the page of stage `number`, whose lattice is `portable` (TrainedModel.portable).

    Raises ConfigError where that is too much for a page, NotSaved where it cannot be written.
    """
    page = html(story, number, portable)
    try:
        path.parent.mkdir(exist_ok=True)
        write_text(path, page)
    except OSError as error:
        raise NotSaved(
            f"{error.filename or path}: the page cannot be written ({error.strerror});"
            " name a place where you may write with --export FILE.html."
        ) from None


def html(story: Story, number: int, portable: Portable) -> str:
    """The whole page."""
    style = (PARTS / "play.css").read_text()
    script = "".join((PARTS / name).read_text() for name in SCRIPTS)
    stages = [stage for stage in story.stages if stage.number <= number]
    return Template((PARTS / "page.html").read_text()).substitute(
        policy=policy(style, script),
        title=escape(story.name),
        date=escape(story.date),
        style=style,
        script=script,
        lead=escape(_lead(stages, portable)),
        talk=_talk(stages, portable["task"], portable["ticks"]),
        legend=_legend(portable["task"]["kind"]),
        colours=_colours(portable["task"]["kind"]),
        painting=PAINTING.get(portable["task"]["kind"], "puts a random state on cells"),
        facts="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in _facts(stages, portable)
        ),
        stages="".join(_row(stage) for stage in stages),
        precision=escape(_precision(portable)),
        made=escape(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by celltrain {__version__}"),
        numbers=packed({**portable, "echo": _echoes(stages)}),
    )


def _lead(stages: Sequence[StageStory], portable: Portable) -> str:
    size = shape(portable["dimensions"])
    begun = f"{size} cells live in this page. Each sees its 26 neighbours and follows one rule"
    if portable["task"]["kind"] == "text":
        return (
            f"{begun} that it learned, so that a sentence crosses them from the left face to the"
            " right. Type one and watch; then cut a hole, and see it heal."
        )
    if portable["task"]["kind"] == "grow":
        return (
            f"{begun} that it learned, by which a shape grows out of a single cell. Cut it with"
            " the mouse, and see it grow back."
        )
    return f"{begun} that it learned. Cut some of them out, and see what comes back."


def _talk(stages: Sequence[StageStory], task: Portable, ticks: int) -> str:
    """Where a sentence is typed, and what comes out is read."""
    if task["kind"] != "text":
        return ""
    if task["encoder"] == "given":
        said = (
            '<p class="about">Its sentences were encoded by another program, which is not in this'
            ' page: a random code goes in instead.</p><p><button type="button" name="code">Send a'
            " random code</button></p>"
        )
    else:
        samples = stages[-1].samples if stages else []
        first = samples[0][0] if samples else " ".join(task["vocabulary"][3:9])
        said = (
            '<form class="say"><label for="text">goes in</label>'
            f'<input id="text" name="text" maxlength="{LONGEST}" autocomplete="off"'
            f' value="{escape(first[:LONGEST])}"><button>Send</button></form>'
            '<p class="remark" role="status"></p>'
        )
    lines = (("now", "comes out now"), ("arrived", f"came out at tick {ticks}"))
    heard = "".join(
        f'<div class="{name}"><dt>{label}</dt><dd><span class="words"></span>'
        '<span class="cosine"></span></dd></div>'
        for name, label in lines
    )
    return f'{said}<dl class="heard">{heard}</dl>'


def _echoes(stages: Sequence[StageStory]) -> bool:
    """Whether what goes in should come out: else a sentence is answered by its reply."""
    return all(source == target for stage in stages for source, target, _ in stage.samples)


def _legend(kind: str) -> str:
    """The key to the curves."""
    lines = [("warm", "cells as they were before the damage (1: wholly)")]
    if kind in SCORES:
        lines.insert(0, ("accent", SCORES[kind]))
    return "".join(f'<li><i class="{name}"></i>{escape(text)}</li>' for name, text in lines)


def _colours(kind: str) -> str:
    """What the colour of a cell may tell; the first is chosen."""
    return "".join(
        f'<label class="choice"><input type="radio" name="by" value="{name}"'
        f"{' checked' if index == 0 else ''}><span>{name}</span></label>"
        for index, name in enumerate([*(["shape"] if kind == "grow" else []), *COLOURS])
    )


def _facts(stages: Sequence[StageStory], portable: Portable) -> list[tuple[str, str]]:
    """What the lattice is, and what it scores."""
    last = stages[-1] if stages else None
    size, task = shape(portable["dimensions"]), portable["task"]
    named = last.configuration.get("task", ("", ""))[0] if last else ""
    rule = f"{portable['channels']} numbers a cell, {portable['hidden']} hidden"
    facts = [
        ("task", named or task["kind"]),
        ("lattice", f"{size}, {prose.thousands(portable['strength'].size)} connections"),
        ("rule", f"{rule}, {portable['kernels']} kernels, {portable['ticks']} ticks"),
    ]
    if last is not None:
        facts.insert(1, ("stage", f"{last.number}: {last.description}"))
        score = prose.score(last)
        if score is not None:
            facts.append((f"held-out {prose.name(prose.primary(last))}", prose.fixed(score)))
        known = prose.reference(last)
        if known:
            facts.append((f"{known[0]} would score", prose.fixed(known[1])))
    return facts


def _row(stage: StageStory) -> str:
    score = prose.fixed(prose.score(stage))
    cells = (
        f"{stage.number}: {stage.description}",
        shape(stage.dimensions),
        stage.profile,
        str(stage.epochs),
        "–" if stage.seconds is None else prose.seconds(stage.seconds),
        f"{prose.name(prose.primary(stage))} {score}",
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _precision(portable: Portable) -> str:
    kept = portable["storage"]
    if kept == "float32":
        return "The page computes what celltrain computes, to rounding (float32)."
    return f"The run kept its cells in {kept} between ticks; the page keeps them in float32."
