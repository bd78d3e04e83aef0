"""What there is to tell of a run, as plain data; `reading` fills it."""

from dataclasses import dataclass, field

Numbers = list[float]


@dataclass(frozen=True)
class Point:
    """What a `step` event says; `at` is the share of the stage's steps that are done."""

    at: float
    loss: float | None
    cosine: float | None
    active: float | None
    change: float | None


@dataclass(frozen=True)
class Evaluation:
    """Metrics on held-out samples after `step`."""

    at: float
    epoch: int
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Histogram:
    """How many connections have a strength in each of equal bins from `low` to `high`."""

    low: float
    high: float
    counts: Numbers
    mean: float | None
    spread: float | None


@dataclass(frozen=True)
class Clustering:
    at: float
    clusters: int
    unassigned: float
    depth_information: float | None


@dataclass(frozen=True)
class Spectrum:
    """The mean-strength field by shells, from long waves to short ones; white noise's band."""

    tested: bool
    reason: str
    p_value: float | None
    wavevector: tuple[int, ...] | None
    wavelength: Numbers
    power: Numbers
    null_low: Numbers
    null_high: Numbers


@dataclass(frozen=True)
class Emergence:
    """The lattice as a stage leaves it: with cells silenced, and without input."""

    lesion: float | None  # share of the cells that were silenced
    undamaged: dict[str, float]  # metrics
    damaged: dict[str, float]
    branching_ratio: float | None


@dataclass(frozen=True)
class Cells:
    """The lattice cell by cell, x before y before z, every `stride`-th along each axis."""

    dimensions: tuple[int, int, int]
    stride: int
    cluster: list[int] | None  # -1: in none
    strength: Numbers
    activity: Numbers
    faces: tuple[Numbers, Numbers] | None  # norm of what enters and of what leaves, [X, Y]


@dataclass
class StageStory:
    """One stage; what it has not come to yet is None or empty."""

    number: int
    description: str
    profile: str
    dimensions: tuple[int, ...]
    density: float
    epochs: int
    status: str = "pending"
    primary: str | None = None
    grown_from: tuple[int, ...] | None = None
    cells: int | None = None
    connections: int | None = None
    backend: str | None = None
    steps: int = 1
    points: list[Point] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    samples: list[tuple[str, str, str]] = field(default_factory=list)  # of the last evaluation
    strengths: dict[int, Histogram] = field(default_factory=dict)  # after so many steps
    clusterings: list[Clustering] = field(default_factory=list)
    spectrum: Spectrum | None = None
    emergence: Emergence | None = None
    lattice: Cells | None = None
    seconds: float | None = None
    predicted_seconds: float | None = None
    peak_bytes: float | None = None
    predicted_bytes: float | None = None
    samples_seen: float | None = None
    mean_change: float | None = None
    warnings: list[str] = field(default_factory=list)
    configuration: dict[str, tuple[str, str]] = field(default_factory=dict)  # value, source


@dataclass(frozen=True)
class Story:
    """A run."""

    name: str
    date: str  # when it began, "" where its folder's name does not say
    status: str
    error: str | None
    stages: list[StageStory]
    device: str
    profile: str
    environment: list[tuple[str, str]]
    last_event: float | None  # Unix seconds
    notes: list[str]
