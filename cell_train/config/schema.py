"""The keys of a stage, their types, and what they mean. Values live in defaults.yaml and
profiles.yaml, bounds in rules.py.

A stage file may write any of these keys; `resolve` fills in the rest. Shapes: dimensions are
cells along x, y, z; text enters at z = 0 and leaves at z = Z - 1. The comments beside the fields
(and lines of comment right above one) are the keys' descriptions wherever one is shown:
`celltrain why`, `celltrain schema`, docs/keys.md.
"""

from dataclasses import dataclass, field

Triple = list[int]  # [X, Y, Z]


@dataclass
class Lattice:
    """The grid and the shared rule's widths."""

    dimensions: Triple  # the grid's size; the memory profile caps it axis by axis
    channels: int  # C, numbers of state a cell has
    hidden: int  # H, width of the shared rule
    kernels: int  # K, directional kernels over the 26 neighbours
    # what every cell computes at a tick: gated, isotropic (the same rule, its kernels looking all
    # ways alike at the start), growing (started to spread from a seed), or package.module:Rule of
    # your own
    rule: str
    ticks: int | None  # T, updates a presentation; null: Z + 2
    # a step of training takes a number of ticks drawn from this one to `ticks`; null: always T
    ticks_from: int | None
    # that a cell takes part in a tick, each on its own; at other ticks it stays as it is
    update_probability: float
    # a cell sees a connection as far as its strength exceeds the mean of the cell's own: a fixed
    # inhibition balances the excitation, and weak connections count as negative
    inhibition: bool
    periodic: bool  # x and y wrap around; z never does, it runs from input to output
    strength_min: float  # no connection gets weaker
    strength_max: float  # no connection gets stronger
    strength_start: list[float]  # [low, high] of the uniform draw the first stage starts from
    # fraction of connections that exist: the smallest that this key, sparse_connection_ratio,
    # sparse_connections or the memory profile asks for; an override of this key is obeyed
    connection_density: float | None
    sparse_connection_ratio: float | None  # fraction of connections kept that the stage asks for
    emergence_tracking: bool  # set from stage 4 on; morphology is switched in emergence_config
    backend: str  # what computes the step: auto, compiled or plain


@dataclass
class Stdp:
    learning_rate: float  # size of a step's change; the plasticity profile sets it
    time_window: float  # tau in ticks: how long a spike is remembered; the profile sets it
    a_plus: float  # weight of pre before post
    a_minus: float  # weight of post before pre
    pairing: str  # all spikes of a pair count, or only the nearest
    coincidence: str  # how spikes at the same tick count: as NEST, BindsNET or Brian2 do
    statistic: str  # covariance over the batch, or the textbook's raw mean
    samples: int  # at most so many of a step's samples feed the rules; 0: all


@dataclass
class Triplet:
    """For `plasticity_rule: triplet`; windows as multiples of stdp.time_window."""

    minus: float  # window of the postsynaptic trace that depresses
    x: float  # window of the presynaptic trace of triplets
    y: float  # window of the postsynaptic trace of triplets
    a2_plus: float  # potentiation by pairs
    a3_plus: float  # potentiation by triplets
    a2_minus: float  # depression by pairs
    a3_minus: float  # depression by triplets


@dataclass
class ThreeFactor:
    rate: float  # multiple of the STDP learning rate: size of a step's change; 0 switches it off


@dataclass
class Homeostasis:
    rate: float  # of scaling towards bcm.target_activity, a step; 0 switches it off
    mean_rate: float  # of the running mean of activity, a tick; 10 to 100 times below theta_rate


@dataclass
class Bcm:
    rate: float  # eta as a multiple of the STDP learning rate; 0 switches BCM off
    theta_rate: float  # alpha, how fast a cell's threshold follows its activity
    target_activity: float  # y0, the activity a cell settles at


@dataclass
class Competition:
    winner_boost: float  # factor for a cell's most active sources; 1: none
    lateral_inhibition: float  # factor for silent sources (heterosynaptic depression); 1: none
    winners: int  # k, how many of the 26 sources are boosted
    kappa: float  # share of boost and inhibition that a step applies


@dataclass
class ClusteringConfig:
    similarity_threshold: float  # cosine below which a cell stays outside a cluster
    max_clusters: int  # at most so many
    update_frequency: int  # epochs between two clusterings
    priority: float  # share of the update given to clustering, the rest is plasticity's


@dataclass
class EmergenceConfig:
    morphology_tracking: bool  # look at the field of mean strengths once an epoch
    periodic_structure_detection: bool  # test its spectrum's peaks for significance
    pattern_amplification: float  # factor for modes that are significant; 1: none
    frequency_analysis: bool  # FFT of the strengths
    free_ticks: int  # without input, at the stage's end, to measure dynamics on; 0: not measured


@dataclass
class Plasticity:
    enable_plasticity: bool  # whether strengths change at all
    as_specified: bool  # competition ten times stronger and no third factor, as at first
    # strengths change step by step, for good; or forward: while a task shows what is to be stored,
    # until it has been recalled
    when: str
    plasticity_rule: str  # which rules change them; combined is STDP, BCM and competition
    persist_traces: bool  # keep traces and residues from one presentation to the next
    stdp: Stdp  # spike-timing-dependent plasticity
    triplet: Triplet  # in its place with plasticity_rule: triplet
    bcm: Bcm  # Bienenstock-Cooper-Munro rule with a sliding threshold
    three_factor: ThreeFactor  # change by what a connection's messages do to the loss
    homeostasis: Homeostasis  # slow scaling of a cell's strengths
    competition: Competition  # among a cell's incoming connections
    enable_clustering: bool  # set by clustering_enabled
    clustering_config: ClusteringConfig  # functional clusters of cells
    emergence_config: EmergenceConfig  # periodic structure in the strengths


@dataclass
class MixedPrecision:
    enabled: bool  # 16 bit between ticks; the memory profile decides over the stage file
    loss_scale: str  # for fp16, where gradients underflow


@dataclass
class SparseConnections:
    enabled: bool  # whether ratio counts
    ratio: float  # fraction of connections pruned


@dataclass
class Optimization:
    mixed_precision: MixedPrecision  # half the bytes a number
    gradient_checkpointing: bool  # store a state every few ticks, compute those between again
    batch_size_auto_scaling: bool  # split a batch that does not fit; the effective batch stays
    sparse_connections: SparseConnections  # connections pruned for memory


@dataclass
class Training:
    learning_rate: float  # of the lattice's shared rule (AdamW)
    decoder_learning_rate: float  # of the decoder
    weight_decay: float  # AdamW's
    warmup_steps: int  # steps over which the learning rate rises from 0
    final_learning_rate: float  # fraction of learning_rate reached at the stage's end (cosine)
    clip_norm: float  # largest norm of a step's gradient
    checkpoint_every: float  # seconds between checkpoints inside an epoch
    keep_checkpoints: int  # the newest so many, and the best
    # times that a presentation is read and scored, evenly over its second half; the last at its end
    reads: int
    watchdog: float  # seconds a worker may be silent before it is ended and resumed once


@dataclass
class Data:
    path: str  # builtin, builtin:pairs, hf:NAME, or a .txt .md .jsonl .csv .tsv file, or its .gz
    # a .txt file is a text a line (lines), running text (sentences), or what it looks like (auto);
    # .md is running text
    split: str
    text_column: str  # of a table, or the key of an object
    reply_column: str | None  # null: reply, where there is one; else a text is its own target
    held_out_path: str | None  # texts to hold out; null: a tenth of path, chosen by content
    held_out: int  # sentences evaluated on
    max_words: int  # longer sentences are cut


@dataclass
class Text:
    encoder: str  # vsa | learned | precomputed | sentence-transformers:NAME
    embeddings: str | None  # for precomputed: a .npy, .npz or .safetensors file, a row a text
    embedding: int  # D, numbers between encoder, lattice and decoder
    vocabulary: int  # at most so many words; rarer ones become <unk>
    decoder_hidden: int  # width of the decoder
    beam: int  # sentences the decoder keeps in view; 1: it takes the likeliest word


@dataclass
class Recall:
    """For `task: recall`."""

    # stored together in a memory, at most: a batch's memories hold so many, one less, down to one
    patterns: int
    damage: float  # share of a cue's bits that are wrong or missing
    cue: str  # noisy: those bits are flipped; partial: they are not given
    shows: int  # times the patterns are shown to be stored; a strength changes by 1 % in each
    held_out: int  # memories evaluated on


@dataclass
class Voxels:
    """For `task: voxels`."""

    # a .npz file: x [N, X, Y, Z, c] and y [N, X, Y, Z, d], perhaps x_held_out and y_held_out (with
    # an axis of steps behind N where answers are to be put in again), perhaps mask [X, Y, Z]
    path: str
    loss: str  # mse (numbers), bce (each channel of y is 0 or 1) or ce (the largest channel counts)
    residual: bool  # what is read is added to x, which must have the channels of y
    noise: float  # spread of normal noise on x while training, so that errors do not add up


@dataclass
class Grow:
    """For `task: grow`."""

    # mushroom, ring or tree; or a .npy or .npz file of voxels [X, Y, Z, 3 or 4] in 0..1: red,
    # green, blue, and opacity, without which a voxel that is not black is there
    target: str
    pool: int  # states kept from step to step, from which a batch is drawn
    # of a batch, so many that are more than half grown are cut before they go on growing
    damage: int
    alive: float  # opacity above which a cell keeps itself and its 26 neighbours alive; 0: all are
    regrow_ticks: int  # given to a shape that was cut, when it is evaluated
    persist_ticks: int  # after which a shape left alone is looked at, at the stage's end


@dataclass
class Monitor:
    monitor_every: int  # steps between evaluations; 0: at the end of each epoch only
    samples: int  # sentences shown
    # held-out samples scored while training; null: all, as at a stage's end
    evaluate: int | None
    log_every: float  # seconds between step events
    control: str  # train a control instead: bypass (no lattice), frozen (a random one), or none
    controls: bool  # after each stage, train it again as each of these controls


@dataclass
class Gate:
    metric: str  # such as bleu, cosine or loss
    min: float  # the run stops after a stage that ends below it


@dataclass
class Stage:
    """One stage, as a stage file may write it and as `resolve` completes it."""

    stage: int  # its number; stages run in ascending order
    description: str  # a few words, shown while it runs
    epochs: int  # passes over the samples
    dataset_limit: int  # samples an epoch, at most
    batch_size: int  # the effective batch: samples per optimizer step
    plasticity_profile: str  # a row of the plasticity table: rates, windows, competition
    clustering_enabled: bool  # functional clusters form and take part in plasticity
    activity_threshold: float  # theta: a cell spikes when its state has changed by this much
    memory_optimizations: bool  # mixed precision, checkpointing, smaller batches, pruning
    emergence_tracking: bool  # morphology is measured and amplified
    # what is learned: text, recall of stored patterns, voxels from voxels, a shape to grow, or a
    # task of your own as package.module:Task
    task: str
    objective: str  # what trains the lattice: the target's embedding, or the decoder's loss
    seed: int  # of everything drawn at random
    optional: bool  # runs only where --stages names it
    lattice: Lattice  # the grid of cells and their shared rule
    plasticity: Plasticity  # how strengths change while the network runs
    optimization: Optimization  # what saves memory
    training: Training  # the optimizer, checkpoints, the watchdog
    data: Data  # the text trained on
    text: Text  # the text task's encoder and decoder
    recall: Recall  # the recall task's patterns and cues
    voxels: Voxels  # the voxels task's data and loss
    grow: Grow  # the grow task's shape, pool and damage
    monitor: Monitor  # what is evaluated and shown while training
    advance_if: Gate | None = None  # the gate before the next stage


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

    @property
    def number(self) -> int:
        """The stage's number in its run."""
        return self.stage.stage
