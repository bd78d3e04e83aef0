"""The page: one HTML file that asks nothing of the network, and its figures beside it as SVG.

Whatever comes from the run folder is escaped where it enters HTML, and the page forbids the
browser to run or load anything but its own script and style, which it names by their hashes.
"""

import base64
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from cell_train import __version__
from cell_train.errors import NotSaved
from cell_train.report import figures, reading, words
from cell_train.report.story import Cells, Numbers, StageStory, Story
from cell_train.run.progress import duration, gib, shape
from cell_train.run_files import RunFiles, write_text

PARTS = Path(__file__).parent
UNASSIGNED = 255  # in the cells' bytes
ACTIVITY = "mean change of a cell's state at a tick, on the probe sentences"
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Learning",
        "Stages lie side by side with equal widths, however long they took. Held-out sentences"
        " are never trained on; within a stage a part of them is asked, at its end all.",
        ("score", "cosine", "loss"),
    ),
    (
        "Connections",
        "Strengths before a stage (line) and after it (filled). Plasticity is meant to calm from"
        " stage to stage, and cells neither to fall silent nor to fire all at once.",
        ("strengths-", "change", "active"),
    ),
    (
        "Structure",
        "Power of the mean-strength field by wavelength, in multiples of white noise. The grey band"
        " holds white noise at all wavelengths together in 95 of 100 lattices; dots outside it are"
        " orange. Smooth growth alone leaves power in long waves: a wave is called periodic only"
        " if one mode also beats its shell and its lines (p ≤ 0.01).",
        ("spectrum-",),
    ),
    (
        "Memory and time",
        "What the plan said before the run, and what was measured.",
        ("memory", "time"),
    ),
)
STAGE_FIGURES = ("strengths-", "spectrum-", "faces-")


def write(files: RunFiles) -> tuple[Path, int]:
    """Write report/index.html and its figures; the page's path and how many figures.

    Raises ConfigError where the folder is no run, NotSaved where it cannot be written.
    """
    story = reading.read(files)
    drawn = figures.draw(story.stages)
    style = (PARTS / "figure.css").read_text()
    try:
        files.report.mkdir(exist_ok=True)
        for name, svg in drawn.items():
            alone = svg.replace("<title>", f"<style>{style}</style><title>", 1)
            write_text(files.report / f"{name}.svg", alone + "\n")
        page = files.report / "index.html"
        write_text(page, html(story, drawn))
    except OSError as error:
        raise NotSaved(
            f"{error.filename or files.report}: the report cannot be written ({error.strerror});"
            " make room there, or copy the run folder to where you may write."
        ) from None
    return page, len(drawn)


def html(story: Story, drawn: Mapping[str, str]) -> str:
    """The whole page."""
    style = (PARTS / "style.css").read_text() + (PARTS / "figure.css").read_text()
    script = (PARTS / "lattice.js").read_text()
    learning, *others = (_section(*section, drawn) for section in SECTIONS)
    sections = [learning, _numbers(story), _voices(story), others[0], _clusters(story, drawn)]
    sections += [*others[1:], _configuration(story), _environment(story)]
    stages = zip(story.stages, [None, *story.stages], strict=False)
    return Template((PARTS / "page.html").read_text()).substitute(
        policy=_policy(style, script),
        title=escape(story.name),
        style=style,
        script=script,
        status=story.status,
        headline=escape(words.headline(story)),
        error=f'<p class="alarm">{escape(story.error)}</p>' if story.error else "",
        tiles="".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in _tiles(story)),
        stages="".join(_stage(stage, before) for stage, before in stages),
        sections="".join(sections),
        footer=_footer(story),
        data=f'<script type="application/json" id="cells">{_cells_json(story)}</script>',
    )


def _policy(style: str, script: str) -> str:
    """Nothing may load; only this style and this script count."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none';"
        f" style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'"
    )


def _tiles(story: Story) -> list[tuple[str, str]]:
    """The four figures to take away."""
    begun = [stage for stage in story.stages if stage.status != "pending"]
    last = begun[-1] if begun else story.stages[0]
    seconds = [stage.seconds for stage in begun if stage.seconds is not None]
    peaks = [stage.peak_bytes for stage in begun if stage.peak_bytes is not None]
    return [
        (f"held-out {escape(words.name(words.primary(last)))}", words.brief(words.score(last))),
        ("lattice", shape(last.dimensions)),
        ("time in training", duration(sum(seconds)) if seconds else "–"),
        ("peak memory", gib(max(peaks)) if peaks else "–"),
    ]


def _stage(stage: StageStory, before: StageStory | None) -> str:
    state = f' <span class="status {stage.status}">{stage.status}</span>'
    shown = state if stage.status != "completed" else ""
    warnings = "".join(f'<p class="alarm">{escape(one)}</p>' for one in stage.warnings)
    return (
        f'<li class="{stage.status}"><span class="number">{stage.number}</span><div>'
        f"<h3>{escape(stage.description)}{shown}</h3>"
        f"<p>{escape(' '.join(words.deeds(stage, before)))}</p>{warnings}</div></li>"
    )


def _section(heading: str, about: str, names: Sequence[str], drawn: Mapping[str, str]) -> str:
    """A section with those of its figures that there are; empty without any."""
    grids = []
    for small, group in groupby(names, lambda name: name in STAGE_FIGURES):
        found = [svg for name in group for key, svg in drawn.items() if _named(key, name)]
        if found:
            grids.append(_grid(found, small))
    if not grids:
        return ""
    return f'<section><h2>{heading}</h2><p class="about">{about}</p>{"".join(grids)}</section>'


def _named(key: str, name: str) -> bool:
    return key.startswith(name) if name in STAGE_FIGURES else key == name


def _grid(svgs: Iterable[str], small: bool) -> str:
    kind = "figures small" if small else "figures"
    return f'<div class="{kind}">{"".join(f"<figure>{svg}</figure>" for svg in svgs)}</div>'


def _numbers(story: Story) -> str:
    """Every evaluation as a table, folded."""
    stages = [stage for stage in story.stages if stage.evaluations]
    if not stages:
        return ""
    metrics = list(dict.fromkeys(m for s in stages for e in s.evaluations for m in e.metrics))[:5]
    rows = [
        f"<tr><td>{stage.number}</td><td>{one.epoch + 1}</td>"
        + "".join(f"<td>{_digits(one.metrics.get(metric))}</td>" for metric in metrics)
        + "</tr>"
        for stage in stages
        for one in stage.evaluations
    ]
    names = "".join(f"<th>{escape(words.name(metric))}</th>" for metric in metrics)
    return (
        f"<details><summary>All {len(rows)} evaluations as numbers</summary><table><thead><tr>"
        f"<th>stage</th><th>epoch</th>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "</details>"
    )


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else words.brief(value)


def _voices(story: Story) -> str:
    """What came back of the same sentences, stage by stage."""
    heard: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for stage in story.stages:
        for source, target, output in stage.samples:
            heard.setdefault((source, target), []).append((stage.number, output))
    if not heard:
        return ""
    quotes = []
    for (source, target), answers in list(heard.items())[:5]:
        asked = f"<small>{escape(source)}</small>" if source != target else ""
        lines = "".join(
            f'<li><span>stage {number}</span><div class="said">{_marked(target, output)}</div></li>'
            for number, output in answers
        )
        quotes.append(
            f'<blockquote><p class="target said">{asked}{escape(target)}</p><ol>{lines}</ol>'
            "</blockquote>"
        )
    return (
        '<section><h2>What comes back</h2><p class="about">Held-out sentences (bold) went in at one'
        " face; this is what was read from the other at each stage's end. Words that are not"
        ' in place are <span class="off">grey and underlined</span>.</p>'
        f'<div class="voices">{"".join(quotes)}</div></section>'
    )


def _marked(target: str, output: str) -> str:
    """The output as HTML, words that do not belong marked."""
    wanted, said = target.lower().split(), output.split()
    if not said:
        return '<span class="off">(nothing)</span>'
    match = difflib.SequenceMatcher(None, wanted, [word.lower() for word in said], autojunk=False)
    parts = []
    for kind, _, _, first, last in match.get_opcodes():
        words_here = escape(" ".join(said[first:last]))
        if words_here:
            right = kind == "equal"
            parts.append(words_here if right else f'<span class="off">{words_here}</span>')
    return " ".join(parts)


def _clusters(story: Story, drawn: Mapping[str, str]) -> str:
    """The lattice to turn, its faces, and how its clusters came to be."""
    stages = [stage for stage in story.stages if stage.lattice is not None]
    pictures = [svg for name, svg in drawn.items() if name.startswith("faces-")]
    clusters = [drawn["clusters"]] if "clusters" in drawn else []
    if not (stages or clusters):
        return ""
    viewer = _viewer(stages) if stages else ""
    faces = (
        '<p class="about">Below: how strongly each cell of the input face is written to (in) and'
        " of the output face is read (out), as multiples of the face's mean.</p>"
        + _grid(pictures, small=True)
        if pictures
        else ""
    )
    return (
        '<section><h2>The lattice</h2><p class="about">Text enters at the left face and is read at'
        " the right one. Drag to turn it, take layers away to look inside. Cells of one functional"
        f" cluster answer the probe sentences alike.</p>{viewer}{faces}"
        f"{_grid(clusters, small=False) if clusters else ''}</section>"
    )


def _viewer(stages: Sequence[StageStory]) -> str:
    last = len(stages) - 1
    chosen = [
        ("stage", [(str(i), str(stage.number), i == last) for i, stage in enumerate(stages)]),
        (
            "by",
            [
                ("cluster", "cluster", True),
                ("strength", "strength", False),
                ("activity", "activity", False),
            ],
        ),
    ]
    fields = "".join(
        f"<fieldset><legend>{'colour' if name == 'by' else name}</legend>"
        + "".join(
            f'<label class="choice"><input type="radio" name="{name}" value="{value}"'
            f"{' checked' if checked else ''}><span>{label}</span></label>"
            for value, label, checked in choices
        )
        + "</fieldset>"
        for name, choices in chosen
    )
    thinned = any(stage.lattice is not None and stage.lattice.stride > 1 for stage in stages)
    note = '<p class="about">Of large lattices every n-th cell is drawn.</p>' if thinned else ""
    return (
        '<div class="viewer"><canvas class="lattice" tabindex="0" role="img" aria-label="The'
        ' lattice in three dimensions; arrow keys turn it"></canvas>'
        f"<form>{fields}<fieldset><legend>layers</legend>"
        '<input type="range" name="layers" min="1" max="1" value="1" aria-label="layers shown, from'
        f' the input face"></fieldset><ul class="key"></ul>{note}</form></div>'
    )


def _cells_json(story: Story) -> str:
    """The cells of every stage for lattice.js; nothing in it can end its element."""
    packed = [_packed(stage.lattice) for stage in story.stages if stage.lattice is not None]
    return json.dumps(packed, separators=(",", ":")).replace("<", "\\u003c")


def _packed(cells: Cells) -> dict[str, Any]:
    labels = cells.cluster
    return {
        "dimensions": cells.dimensions,
        "cluster": None
        if labels is None
        else _bytes(UNASSIGNED if label < 0 else label for label in labels),
        "strength": _quantised(cells.strength, "mean incoming strength"),
        "activity": _quantised(cells.activity, ACTIVITY),
    }


def _quantised(field: Numbers, label: str) -> dict[str, str]:
    low, high = min(field), max(field)
    scale = 255 / ((high - low) or 1)
    data = _bytes(round((value - low) * scale) for value in field)
    return {"low": words.brief(low), "high": words.brief(high), "label": label, "data": data}


def _bytes(values: Iterable[int]) -> str:
    return base64.b64encode(bytes(values)).decode()


def _configuration(story: Story) -> str:
    """Every key with its value and source; stages in a row that agree are said together."""
    stages = [stage for stage in story.stages if stage.configuration]
    if not stages:
        return ""
    differing: list[str] = []
    common: list[str] = []
    for key in dict.fromkeys(key for stage in stages for key in stage.configuration):
        values = [(s.number, s.configuration.get(key, ("–", ""))) for s in stages]
        runs = [
            (found, [number for number, _ in group])
            for found, group in groupby(values, lambda one: one[1])
        ]
        rows = "".join(
            f"<dd>{_numbers_of(numbers) if len(runs) > 1 else ''}<code>{escape(value)}</code>"
            f" <small>{escape(source)}</small></dd>"
            for (value, source), numbers in runs
        )
        row = f"<div><dt>{escape(key)}</dt>{rows}</div>"
        (differing if len(runs) > 1 else common).append(row)
    return (
        '<section><h2>Configuration</h2><p class="about">Each value, and where it came from.</p>'
        f"<details><summary>{len(differing)} keys that differ between stages</summary>"
        f'<dl class="keys">{"".join(differing)}</dl></details>'
        f"<details><summary>{len(common)} keys alike in all stages</summary>"
        f'<dl class="keys">{"".join(common)}</dl></details></section>'
    )


def _numbers_of(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"<small>{first if first == last else f'{first}–{last}'}:</small> "


def _environment(story: Story) -> str:
    facts = [("device", story.device), ("memory profile", story.profile), *story.environment]
    stages = [stage for stage in story.stages if stage.backend]
    facts += [("lattice step", backend) for backend in {stage.backend or "" for stage in stages}]
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts if v)
    return f'<section><h2>Environment</h2><dl class="keys">{rows}</dl></section>'


def _footer(story: Story) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    said = [f"Made {now} by celltrain {__version__}; asks nothing of the network."]
    if story.status == "running" and story.last_event is not None:
        since = max(0.0, datetime.now(UTC).timestamp() - story.last_event)
        said.append(f"The run's last sign of life was {duration(since)} before.")
    said.append(
        "Curves, histograms and spectra are those of each stage's metrics.jsonl, plans of"
        " plan.json, cells of lattice.json."
    )
    said += [f"Left out: {note}." for note in story.notes]
    return "".join(f"<p>{escape(one)}</p>" for one in said)
