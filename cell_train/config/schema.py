"""The keys of a stage and their types. Values live in defaults.yaml and profiles.yaml.

A stage file may write any of these keys; `resolve` fills in the rest. Shapes: dimensions are
cells along x, y, z; text enters at z = 0 and leaves at z = Z - 1.
"""

from dataclasses import dataclass, field

Triple = list[int]  # [X, Y, Z]


@dataclass
class Lattice:
    """The grid and the shared rule's widths."""

    dimensions: Triple
    channels: int  # C, numbers of state per cell
    hidden: int  # H, width of the shared rule
    kernels: int  # K, directional kernels over the 26 neighbours
    ticks: int | None  # T, updates a presentation; null: Z + 2
    periodic: bool  # x and y wrap around; z never does, it runs from input to output
    strength_min: float
    strength_max: float
    strength_start: list[float]  # [low, high] of the uniform draw
    connection_density: float | None  # fraction of connections that exist; resolved: never null
    sparse_connection_ratio: float | None  # fraction kept that the stage asks for
    emergence_tracking: bool
    backend: str  # of the step: auto | compiled | plain


@dataclass
class Stdp:
    learning_rate: float
    time_window: float  # tau, ticks
    a_plus: float
    a_minus: float
    pairing: str  # all-to-all | nearest
    coincidence: str  # exclusive | inclusive | pre-first
    statistic: str  # covariance | raw
    samples: int  # at most so many of a step's samples feed the rules; 0: all


@dataclass
class Triplet:
    """For `plasticity_rule: triplet`; windows as multiples of stdp.time_window."""

    minus: float
    x: float
    y: float
    a2_plus: float
    a3_plus: float
    a2_minus: float
    a3_minus: float


@dataclass
class Homeostasis:
    rate: float  # of scaling towards bcm.target_activity, a step; 0 switches it off
    mean_rate: float  # of the running mean of activity, a tick; 10 to 100 times below theta_rate


@dataclass
class Bcm:
    rate: float  # eta as a multiple of the STDP learning rate; 0 switches BCM off
    theta_rate: float  # alpha
    target_activity: float  # y0


@dataclass
class Competition:
    winner_boost: float  # 1.0 with lateral_inhibition 1.0: no competition
    lateral_inhibition: float
    winners: int  # k of 26
    kappa: float


@dataclass
class ClusteringConfig:
    similarity_threshold: float
    max_clusters: int
    update_frequency: int  # epochs
    priority: float  # share of the update given to clustering


@dataclass
class EmergenceConfig:
    morphology_tracking: bool
    periodic_structure_detection: bool
    pattern_amplification: float
    frequency_analysis: bool
    free_ticks: int  # without input, at the stage's end, to measure dynamics on; 0: not measured


@dataclass
class Plasticity:
    enable_plasticity: bool
    plasticity_rule: str  # combined | triplet | stdp | bcm | competition
    persist_traces: bool
    stdp: Stdp
    triplet: Triplet
    bcm: Bcm
    homeostasis: Homeostasis
    competition: Competition
    enable_clustering: bool
    clustering_config: ClusteringConfig
    emergence_config: EmergenceConfig


@dataclass
class MixedPrecision:
    enabled: bool
    loss_scale: str  # dynamic | none


@dataclass
class SparseConnections:
    enabled: bool
    ratio: float  # fraction pruned


@dataclass
class Optimization:
    mixed_precision: MixedPrecision
    gradient_checkpointing: bool
    batch_size_auto_scaling: bool
    sparse_connections: SparseConnections


@dataclass
class Training:
    learning_rate: float
    decoder_learning_rate: float
    weight_decay: float
    warmup_steps: int
    final_learning_rate: float  # fraction of learning_rate reached at the stage's end (cosine)
    clip_norm: float
    checkpoint_every: float  # seconds between checkpoints inside an epoch
    keep_checkpoints: int  # the newest so many, and the best
    watchdog: float  # seconds a worker may be silent before it is ended and resumed once


@dataclass
class Data:
    path: str  # builtin, or a .txt / .jsonl file
    held_out: int  # sentences evaluated on
    max_words: int  # longer sentences are cut


@dataclass
class Text:
    encoder: str  # vsa | learned
    embedding: int  # D, numbers between encoder, lattice and decoder
    vocabulary: int  # at most so many words; rarer ones become <unk>
    decoder_hidden: int


@dataclass
class Monitor:
    monitor_every: int  # steps between evaluations; 0: at the end of each epoch only
    samples: int  # sentences shown
    evaluate: int  # held-out sentences scored while training (the last evaluation scores all)
    log_every: float  # seconds between step events


@dataclass
class Gate:
    metric: str
    min: float


@dataclass
class Stage:
    """One stage, as a stage file may write it and as `resolve` completes it."""

    stage: int
    description: str
    epochs: int
    dataset_limit: int
    batch_size: int  # the effective batch: samples per optimizer step
    plasticity_profile: str
    clustering_enabled: bool
    activity_threshold: float
    memory_optimizations: bool
    emergence_tracking: bool
    task: str  # text | package.module:Task
    objective: str  # embedding | text
    seed: int
    optional: bool  # runs only where --stages names it
    lattice: Lattice
    plasticity: Plasticity
    optimization: Optimization
    training: Training
    data: Data
    text: Text
    monitor: Monitor
    advance_if: Gate | None = None


@dataclass
class Execution:
    """What the plan decided for this machine; written into resolved.yaml, never by a user."""

    device: str  # cpu | cuda:<UUID or index>
    threads: int  # 0: as many as there are cores
    precision: str  # fp32 | bf16 | fp16: how cells are stored between ticks
    micro_batch: int  # samples a forward pass; batch_size = micro_batch x accumulation
    accumulation: int
    segment: int  # ticks between stored states; 1 stores every tick
    samples_per_epoch: int  # may be fewer than the data holds (`thinned`)
    predicted_peak_bytes: int
    budget_bytes: int


@dataclass
class ResolvedStage:
    """All a worker ever reads."""

    schema: int
    version: str
    stage: Stage
    execution: Execution
    start_from: str | None = None  # a checkpoint to grow from
    sources: dict[str, str] = field(default_factory=dict)  # dotted key -> where its value is from
