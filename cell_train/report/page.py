"""The page: one HTML file that asks nothing of the network, and its figures beside it as SVG.

Whatever comes from the run folder is escaped where it enters HTML, and the page forbids the
browser to run or load anything but its own script and style, which it names by their hashes.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template

from cell_train._version import __version__
from cell_train.errors import NotSaved
from cell_train.formatting import duration, gib, shape
from cell_train.report import prose, sections
from cell_train.report.figures import draw, lattice_view
from cell_train.report.run_data import reading
from cell_train.report.run_data.story import StageStory, Story
from cell_train.run_folder.paths import RunFiles
from cell_train.storage import write_text

PARTS = Path(__file__).with_name("assets")


def write(files: RunFiles) -> tuple[Path, int]:
    """Write report/index.html and its figures; the page's path and how many figures.

    Raises ConfigError where the folder is no run, NotSaved where it cannot be written.
    """
    story = reading.read(files)
    drawn = draw.draw(story.stages)
    try:
        files.report.mkdir(exist_ok=True)
        for name, svg in drawn.items():
            write_text(files.report / f"{name}.svg", alone(svg))
        page = files.report / "index.html"
        write_text(page, html(story, drawn))
    except OSError as error:
        raise NotSaved(
            f"{error.filename or files.report}: the report cannot be written ({error.strerror});"
            " make room there, or copy the run folder to where you may write."
        ) from None
    return page, len(drawn)


def alone(svg: str) -> str:
    """A figure as a file of its own, with the style that it follows."""
    style = (PARTS / "figure.css").read_text()
    return svg.replace("<title>", f"<style>{style}</style><title>", 1) + "\n"


def html(story: Story, drawn: Mapping[str, str]) -> str:
    """The whole page."""
    style = (PARTS / "style.css").read_text() + (PARTS / "figure.css").read_text()
    script = (PARTS / "lattice.js").read_text()
    parts = (
        sections.learning(story, drawn),
        sections.voices(story),
        sections.connections(drawn),
        lattice_view.lattice(story, drawn),
        sections.structure(drawn),
        sections.resources(drawn),
        sections.configuration(story),
        sections.environment(story),
    )
    stages = zip(story.stages, [None, *story.stages], strict=False)
    return Template((PARTS / "page.html").read_text()).substitute(
        policy=policy(style, script),
        title=escape(story.name),
        date=escape(story.date),
        style=style,
        script=script,
        status=story.status,
        headline=escape(prose.headline(story)),
        error=f'<p class="alarm">{escape(story.error)}</p>' if story.error else "",
        tiles="".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in _tiles(story)),
        stages="".join(_stage(stage, before) for stage, before in stages),
        sections="".join(parts),
        footer=_footer(story),
        data='<script type="application/json" id="cells">'
        f"{lattice_view.cells_json(story)}</script>",
    )


def policy(style: str, script: str) -> str:
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
        (f"held-out {escape(prose.name(prose.primary(last)))}", prose.fixed(prose.score(last))),
        ("lattice", shape(last.dimensions)),
        ("time in training", prose.seconds(sum(seconds)) if seconds else "–"),
        ("peak memory", gib(max(peaks)) if peaks else "–"),
    ]


def _stage(stage: StageStory, before: StageStory | None) -> str:
    state = f' <span class="status {stage.status}">{stage.status}</span>'
    shown = state if stage.status != "completed" else ""
    warnings = "".join(f'<p class="alarm">{escape(one)}</p>' for one in stage.warnings)
    return (
        f'<li class="{stage.status}"><span class="number">{stage.number}</span><div>'
        f"<h3>{escape(stage.description)}{shown}</h3>"
        f"<p>{escape(' '.join(prose.deeds(stage, before)))}</p>{warnings}</div></li>"
    )


def _footer(story: Story) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    said = [f"Made {now} by celltrain {__version__}; asks nothing of the network."]
    if story.status == "running" and story.last_event is not None:
        since = max(0.0, datetime.now(UTC).timestamp() - story.last_event)
        said.append(f"The run's last sign of life was {duration(since)} before.")
    said.append(
        "Curves, histograms and spectra are those of each stage's metrics.jsonl, plans of"
        " plan.json, cells of lattice.json; docs/report.md says how to read them."
    )
    said += [f"Left out: {note}." for note in story.notes]
    return "".join(f"<p>{escape(one)}</p>" for one in said)
