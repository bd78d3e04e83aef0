"""Every kind of event: its fields with their types, what they mean, and who reads them.

To add an event or a field, add it here and give it where it is sent. Who shows it besides is named
by `display` (a terminal, live or in plain lines) and `report` (the page that `celltrain report`
writes): a test tells both apart with and without each field.
"""

import dataclasses
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_type_hints


class _LeftOut(Enum):
    LEFT_OUT = "left out"


LEFT_OUT = _LeftOut.LEFT_OUT
"""In place of a field that this event does not have."""

T = TypeVar("T")
Maybe = Union[T, _LeftOut]  # noqa: UP007 # `|` gives no alias that takes a parameter
Metrics = dict[str, float | None]
"""The task's metrics by name."""
Numbers = list[float | None]
Level = Literal["info", "note", "warning"]


@dataclass(frozen=True)
class Says:
    """What a field means, and who shows it."""

    meaning: str
    display: bool = False
    report: bool = False
    place: bool = False  # says where the others belong: no figure to be drawn
    type: Any = None  # filled in by `fields`


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent. By kind: its name, and where it is kept."""

    kind: ClassVar[str]
    kept: ClassVar[bool] = True  # in events.jsonl, in `--json`, and shown to the display
    to_metrics: ClassVar[bool] = False  # metrics.jsonl
    to_tensorboard: ClassVar[bool] = False
    of_parent: ClassVar[bool] = False  # not of the worker


Epoch = Annotated[int, Says("the epoch, from 0", place=True)]
Step = Annotated[int, Says("steps done", place=True)]


@dataclass(frozen=True, kw_only=True)
class StageStart(Message):
    """A stage begins, or goes on."""

    kind = "stage_start"
    to_metrics = to_tensorboard = True
    dimensions: Annotated[list[int], Says("of the lattice, in cells", display=True)]
    cells: Annotated[int, Says("of the lattice", report=True)]
    connections: Annotated[int, Says("that exist", report=True)]
    parameters: Annotated[int, Says("that the optimizer trains")]
    ticks: Annotated[int, Says("of a presentation")]
    epochs: Annotated[int, Says("of the stage")]
    steps: Annotated[int, Says("of the stage", display=True, report=True)]
    step: Annotated[int, Says("steps done before", display=True, report=True)]
    backend: Annotated[str, Says("how a tick is computed, and why so", report=True)]
    threads: Annotated[int, Says("that torch computes with")]
    inexact: Annotated[list[str], Says("what is computed otherwise than before")]
    started_from: Annotated[str | None, Says("checkpoint of the stage before")]
    grown_from: Annotated[
        list[int] | None, Says("dimensions of its lattice, if smaller", display=True, report=True)
    ]
    control: Annotated[str, Says("monitor.control: none, bypass or frozen")]
    task: Annotated[dict[str, Any], Says("what the task says of itself")]


@dataclass(frozen=True, kw_only=True)
class Progress(Message):
    """How training goes, at intervals of `monitor.log_every` seconds."""

    kind = "step"
    to_metrics = to_tensorboard = True
    epoch: Annotated[int, Says("the epoch, from 0", place=True, display=True)]
    step: Annotated[int, Says("steps done", place=True, display=True, report=True)]
    steps: Annotated[int, Says("of the stage", place=True, display=True)]
    loss: Annotated[
        float | None, Says("running mean over about 50 steps", display=True, report=True)
    ]
    cosine: Annotated[
        float | None, Says("of output and target in this step", display=True, report=True)
    ]
    cells_per_second: Annotated[float, Says("cell updates, over samples and ticks", display=True)]
    active: Annotated[
        float, Says("share of (cell, tick, sample) with a spike", display=True, report=True)
    ]
    change: Annotated[float, Says("mean absolute change of a strength in a step", report=True)]
    memory_bytes: Annotated[int, Says("allocated on the GPU, or anonymous", display=True)]
    seconds_left: Annotated[float, Says("until the stage ends", display=True)]


@dataclass(frozen=True, kw_only=True)
class Clustering(Message):
    """Functional clusters were found anew; `jaccard` and `null` with the last of a stage alone."""

    kind = "clustering"
    to_metrics = to_tensorboard = True
    epoch: Annotated[int, Says("the epoch, from 0", place=True, report=True)]
    clusters: Annotated[int, Says("how many", display=True, report=True)]
    unassigned: Annotated[float, Says("share of cells in none", display=True, report=True)]
    silhouette: Annotated[float | None, Says("mean silhouette of the assigned cells")]
    restart_agreement: Annotated[float | None, Says("adjusted Rand index between restarts")]
    lag_agreement: Annotated[
        float | None, Says("adjusted Rand index to the labels 5 epochs before")
    ]
    depth_information: Annotated[
        float | None, Says("share of depth that labels tell; 1: clusters are layers", report=True)
    ]
    contiguity: Annotated[float | None, Says("share of neighbours in the same cluster")]
    contiguity_chance: Annotated[float | None, Says("the same of shuffled labels")]
    jaccard: Annotated[Maybe[float | None], Says("stability under resampling")] = LEFT_OUT
    null: Annotated[
        Maybe[dict[str, float | None]],
        Says("silhouette, restart_agreement and jaccard on smooth noise"),
    ] = LEFT_OUT


@dataclass(frozen=True, kw_only=True)
class Morphology(Message):
    """The spectrum of the mean-strength field as an epoch begins, as far as the stage looks."""

    kind = "morphology"
    to_metrics = to_tensorboard = True
    epoch: Epoch
    dominant_wavelength: Annotated[Maybe[float | None], Says("of the strongest mode, in cells")] = (
        LEFT_OUT
    )
    slope: Annotated[Maybe[float | None], Says("beta of power ~ 1/|k|^beta")] = LEFT_OUT
    entropy: Annotated[Maybe[float | None], Says("of the power over modes, over its maximum")] = (
        LEFT_OUT
    )
    tested: Annotated[Maybe[bool], Says("whether it was tested for a wave")] = LEFT_OUT
    reason: Annotated[Maybe[str], Says("what the test found, or why there was none")] = LEFT_OUT
    p_value: Annotated[Maybe[float | None], Says("of a periodic structure")] = LEFT_OUT
    wavevector: Annotated[Maybe[list[int] | None], Says("of the wave found")] = LEFT_OUT
    amplified: Annotated[Maybe[bool], Says("whether the wave was amplified")] = LEFT_OUT


@dataclass(frozen=True, kw_only=True)
class Emergence(Message):
    """What a lattice does as its stage ends: strengths, a lesion, and the free dynamics after the
    input is removed (all from `free_ticks` on: where the stage measures them)."""

    kind = "emergence"
    to_metrics = to_tensorboard = True
    epoch: Epoch
    seconds: Annotated[float, Says("that measuring took")]
    variation: Annotated[float | None, Says("of the strengths: deviation over mean")]
    bimodality: Annotated[float | None, Says("of the strengths: Sarle's coefficient")]
    at_bounds: Annotated[float | None, Says("share of strengths at their bounds")]
    lesion: Annotated[Maybe[float], Says("share of the cells silenced", report=True)] = LEFT_OUT
    undamaged: Annotated[Maybe[Metrics], Says("metrics of the whole lattice", report=True)] = (
        LEFT_OUT
    )
    damaged: Annotated[
        Maybe[Metrics], Says("metrics on the same samples with the lesion", report=True)
    ] = LEFT_OUT
    free_ticks: Annotated[Maybe[int], Says("without input")] = LEFT_OUT
    activity: Annotated[Maybe[float], Says("mean over them")] = LEFT_OUT
    activity_left: Annotated[Maybe[float], Says("at the end, of that at first")] = LEFT_OUT
    branching_ratio: Annotated[
        Maybe[float | None], Says("activity begotten by activity", report=True)
    ] = LEFT_OUT
    psi: Annotated[Maybe[float | None], Says("causal emergence, in nats")] = LEFT_OUT
    psi_null: Annotated[Maybe[float | None], Says("its mean over surrogates")] = LEFT_OUT
    psi_p_value: Annotated[Maybe[float | None], Says("of psi")] = LEFT_OUT


@dataclass(frozen=True, kw_only=True)
class Evaluated(Message):
    """Scores on held-out samples."""

    kind = "evaluation"
    to_metrics = to_tensorboard = True
    epoch: Annotated[int, Says("the epoch, from 0", place=True, display=True, report=True)]
    step: Annotated[int, Says("steps done", place=True, report=True)]
    metrics: Annotated[Metrics, Says("of the task", display=True, report=True)]
    samples: Annotated[
        list[tuple[str, str, str]],
        Says("[[source, target, output], ...]", display=True, report=True),
    ]


@dataclass(frozen=True, kw_only=True)
class Strengths(Message):
    """How the strengths are distributed: at the start, and with each evaluation."""

    kind = "strengths"
    to_metrics = to_tensorboard = True
    epoch: Epoch
    step: Annotated[int, Says("steps done", place=True, report=True)]
    low: Annotated[float, Says("the least a strength may be", report=True)]
    high: Annotated[float, Says("the most", report=True)]
    mean: Annotated[float | None, Says("of all strengths", report=True)]
    spread: Annotated[float | None, Says("their standard deviation", report=True)]
    counts: Annotated[list[int], Says("of strengths in equal bins", report=True)]


@dataclass(frozen=True, kw_only=True)
class Spectrum(Message):
    """The mean-strength field as the stage leaves it; lists are by shell, long waves first."""

    kind = "spectrum"
    to_metrics = to_tensorboard = True
    epoch: Epoch
    step: Step
    tested: Annotated[bool, Says("whether it was tested for a wave", report=True)]
    reason: Annotated[str, Says("what the test found, or why there was none", report=True)]
    p_value: Annotated[float | None, Says("of a periodic structure", report=True)]
    wavevector: Annotated[list[int] | None, Says("of the wave found", report=True)]
    wavelength: Annotated[Maybe[Numbers], Says("in cells", report=True)] = LEFT_OUT
    modes: Annotated[Maybe[list[int]], Says("in the shell")] = LEFT_OUT
    power: Annotated[Maybe[Numbers], Says("as a multiple of white noise's", report=True)] = LEFT_OUT
    null_low: Annotated[Maybe[Numbers], Says("white noise lies above", report=True)] = LEFT_OUT
    null_high: Annotated[Maybe[Numbers], Says("white noise lies below", report=True)] = LEFT_OUT
    tail: Annotated[Maybe[Numbers], Says("probability of as much power by chance")] = LEFT_OUT


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Message):
    """A checkpoint was written."""

    kind = "checkpoint"
    epoch: Epoch
    step: Step
    path: Annotated[str, Says("of the checkpoint")]
    bytes: Annotated[int, Says("its size")]
    seconds: Annotated[float, Says("that saving took")]


@dataclass(frozen=True, kw_only=True)
class Log(Message):
    """Something to be read; a terminal shows level `info` with --verbose alone."""

    kind = "log"
    level: Annotated[Level, Says("how urgent", display=True, report=True)]
    message: Annotated[str, Says("one sentence", display=True, report=True)]


@dataclass(frozen=True, kw_only=True)
class Alive(Message):
    """A sign of life for the watchdog, in long evaluations and steps."""

    kind = "alive"
    kept = False


@dataclass(frozen=True, kw_only=True)
class StageEnd(Message):
    """A stage is complete: what its row of summary.json says was measured."""

    kind = "stage_end"
    to_metrics = to_tensorboard = True
    status: Annotated[Literal["completed"], Says("of the stage")]
    dimensions: Annotated[list[int], Says("of the lattice, in cells")]
    connection_density: Annotated[float | None, Says("share of connections kept")]
    plasticity_profile: Annotated[str, Says("of the stage")]
    epochs: Annotated[int, Says("of the stage")]
    samples: Annotated[int, Says("trained on, each as often as it was shown")]
    seconds: Annotated[float, Says("of training, over all attempts")]
    peak_bytes: Annotated[int, Says("most memory: reserved on the GPU, or anonymous")]
    loss: Annotated[float | None, Says("running mean over about 50 steps")]
    primary: Annotated[str, Says("the metric to look at first")]
    metrics: Annotated[Metrics, Says("on all held-out samples")]
    clusters: Annotated[int | None, Says("of the last clustering")]
    clustering: Annotated[dict[str, Any] | None, Says("its event")]
    clusterings: Annotated[int | None, Says("how often clustering was applied")]
    mean_abs_change: Annotated[float | None, Says("of a strength in a step")]
    rollbacks: Annotated[int, Says("to a checkpoint, after steps that were not finite")]
    inexact: Annotated[list[str], Says("what was computed otherwise after an interruption")]
    checkpoint: Annotated[str, Says("the last")]
    best_checkpoint: Annotated[str | None, Says("that of the highest score")]
    emergence: Annotated[dict[str, Any] | None, Says("its event")]


@dataclass(frozen=True, kw_only=True)
class Stopped(Message):
    """The worker was asked to stop, and has saved if it could."""

    kind = "interrupted"
    signal: Annotated[str, Says("what asked it to")]
    checkpoint: Annotated[str | None, Says("the newest")]


@dataclass(frozen=True, kw_only=True)
class Failed(Message):
    """The worker ends with an error."""

    kind = "failed"
    error: Annotated[str, Says("its class in errors.py")]
    message: Annotated[str, Says("one sentence", report=True)]


@dataclass(frozen=True, kw_only=True)
class Retry(Message):
    """A stage is tried again, with less memory or after silence."""

    kind = "retry"
    of_parent = True
    level: Annotated[Level, Says("how urgent", display=True, report=True)]
    message: Annotated[str, Says("one sentence", display=True, report=True)]


@dataclass(frozen=True, kw_only=True)
class StageDone(Message):
    """A stage is complete: its row of summary.json, of which these are shown."""

    kind = "stage_done"
    of_parent = True
    status: Annotated[Literal["completed"], Says("of the stage", display=True)]
    dimensions: Annotated[list[int], Says("of the lattice, in cells", display=True)]
    connection_density: Annotated[float | None, Says("share of connections kept", display=True)]
    plasticity_profile: Annotated[str, Says("of the stage", display=True)]
    primary: Annotated[str | None, Says("the metric to look at first", display=True)]
    metrics: Annotated[Metrics, Says("on all held-out samples", display=True)]
    clusters: Annotated[int | None, Says("of the last clustering", display=True)]
    peak_bytes: Annotated[int | None, Says("most memory", display=True)]
    seconds: Annotated[float, Says("of training", display=True)]


KINDS: dict[str, type[Message]] = {
    one.kind: one
    for one in (
        *(StageStart, Progress, Clustering, Morphology, Emergence, Evaluated, Strengths, Spectrum),
        *(CheckpointSaved, Log, Alive, StageEnd, Stopped, Failed, Retry, StageDone),
    )
}


@cache
def fields(kind: str) -> dict[str, Says]:
    """What the fields of a kind of event mean, with their types, in order; none if unknown."""
    if kind not in KINDS:
        return {}
    hints = get_type_hints(KINDS[kind], include_extras=True)
    parts = {field.name: get_args(hints[field.name]) for field in dataclasses.fields(KINDS[kind])}
    return {name: replace(said, type=held) for name, (held, said) in parts.items()}
