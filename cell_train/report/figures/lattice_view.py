"""The lattice to turn, drawn by lattice.js, and what stands around it."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cell_train.report import prose
from cell_train.report.run_data.story import Cells, Numbers, StageStory, Story
from cell_train.report.sections import of_stages, section, wide

UNASSIGNED = 255  # in the cells' bytes
ACTIVITY = "mean change of a cell's state at a tick, on the probe samples"


def lattice(story: Story, drawn: Mapping[str, str]) -> str:
    """The section of the lattice: the view, its faces, and how its clusters came to be."""
    stages = [stage for stage in story.stages if stage.lattice is not None]
    faces = of_stages(drawn, "faces-")
    about_faces = (
        '<p class="about">How strongly each cell of the input face is written to (in) and of the'
        " output face is read (out), as multiples of the face's mean:</p>"
    )
    return section(
        "The lattice",
        "z runs from the left to the right: text enters left, is read right. Drag it, take"
        " layers away to look inside. Cells of one functional cluster answer probe samples alike.",
        _viewer(stages) if stages else "",
        about_faces + faces if faces else "",
        wide(drawn, "clusters"),
    )


def _viewer(stages: Sequence[StageStory]) -> str:
    numbers = [(str(i), str(stage.number)) for i, stage in enumerate(stages)]
    colours = [(by, by) for by in ("cluster", "strength", "activity")]
    fields = _choice("stage", "stage", numbers, len(stages) - 1) + _choice("by", "colour", colours)
    thinned = any(stage.lattice is not None and stage.lattice.stride > 1 for stage in stages)
    note = '<p class="about">Of large lattices every n-th cell is drawn.</p>' if thinned else ""
    return (
        '<div class="viewer"><canvas class="lattice" tabindex="0" role="img" aria-label="The'
        ' lattice in three dimensions; arrow keys turn it"></canvas>'
        f"<form>{fields}<fieldset><legend>layers</legend>"
        '<input type="range" name="layers" min="1" max="1" value="1" aria-label="layers shown, from'
        f' the input face"></fieldset><ul class="key"></ul>{note}</form></div>'
    )


def _choice(name: str, legend: str, values: Sequence[tuple[str, str]], chosen: int = 0) -> str:
    """A row of buttons of which one is down."""
    buttons = "".join(
        f'<label class="choice"><input type="radio" name="{name}" value="{value}"'
        f"{' checked' if index == chosen else ''}><span>{label}</span></label>"
        for index, (value, label) in enumerate(values)
    )
    return f"<fieldset><legend>{legend}</legend>{buttons}</fieldset>"


def cells_json(story: Story) -> str:
    """The cells of every stage for lattice.js; nothing in it can end its element."""
    packed = [_packed(stage.lattice) for stage in story.stages if stage.lattice is not None]
    return json.dumps(packed, separators=(",", ":")).replace("<", "\\u003c")


def _packed(cells: Cells) -> dict[str, Any]:
    labels = cells.cluster
    return {
        "dimensions": cells.dimensions,
        "cluster": labels and _bytes(UNASSIGNED if label < 0 else label for label in labels),
        "strength": _quantised(cells.strength, "mean incoming strength"),
        "activity": _quantised(cells.activity, ACTIVITY),
    }


def _quantised(field: Numbers, label: str) -> dict[str, str]:
    low, high = min(field), max(field)
    scale = 255 / (high - low) if high - low > 1e-30 else 0
    data = _bytes(round((value - low) * scale) for value in field)
    return {"low": prose.brief(low), "high": prose.brief(high), "label": label, "data": data}


def _bytes(values: Iterable[int]) -> str:
    return base64.b64encode(bytes(values)).decode()
