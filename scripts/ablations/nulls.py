"""What the plastic update sees: the data, or only the wave running in from the input face?

STDP's update of every connection, raw and as a covariance over samples, from four kinds of input:
sentences, other sentences of the same source, question sentences, and noise of the same size.
Correlated over connections, from as many samples as a step shows (16) and from 256, in which what
differs from step to step has cancelled. Two draws of one source say how much of an update is
repeatable: a statistic that saw nothing at all would also score low between data and noise. And
the share of the update's variance between (offset, depth) groups: what geometry alone explains.
"""

import statistics
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from cell_train.data import corpus
from cell_train.model.lattice import NEIGHBOURS
from cell_train.planning import plan as planning
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.plasticity.spikes import graded_spikes
from cell_train.plasticity.stdp import pair_stdp
from cell_train.run_folder.paths import StageFiles
from cell_train.training.setup import prepare
from cell_train.training.trainer import Trainer
from scripts.benchmarks.common import Result

SAMPLES = (16, 256)  # of each kind of input: as a step of the product takes, and many
STEPS = 200  # of the short training
WORDS = (
    "lattice.dimensions=[8,8,8]",
    "lattice.connection_density=1.0",
    f"dataset_limit={STEPS * 32}",
)


def nulls(seeds: int) -> list[Result]:
    """Medians over seeds; on a lattice after a short training, and as it starts."""
    seen = [_rows(seed) for seed in range(seeds)]
    table = {
        key: {
            name: round(statistics.median(rows[key][name] for rows in seen), 3)
            for name in seen[0][key]
        }
        for key in seen[0]
    }
    results = []
    for state, samples in product(("trained", "untrained"), SAMPLES):
        new, raw = (table[state, samples, statistic] for statistic in ("covariance", "raw"))
        worst = max(new["other data"], new["noise"])
        name, parts = f"{state}_{samples}", {"covariance": new, "raw": raw}
        results += [
            Result(f"{name}_correlation", worst, 0.5, "lower", parts),
            Result(f"{name}_geometry", new["geometry"], 0.6, "lower", {"raw": raw["geometry"]}),
        ]
    return results


def _rows(seed: int) -> dict[tuple[str, int, str], dict[str, float]]:
    """By (state, samples, statistic): correlations with the update from sentences, and geometry's
    share of that update."""
    trainer = _trainer(seed)
    size = trainer.job.stage.batch_size
    rows: dict[tuple[str, int, str], dict[str, float]] = {}
    for state, steps in (("untrained", 0), ("trained", STEPS)):
        for step in range(steps):
            trainer.step(list(range(step * size, (step + 1) * size)))
        for samples in SAMPLES:
            inputs = _inputs(trainer, samples, seed)
            updates = {name: _updates(trainer, x) for name, x in inputs.items()}
            for statistic, base in updates["data"].items():
                rows[state, samples, statistic] = {
                    name: _correlation(base, other[statistic])
                    for name, other in updates.items()
                    if name != "data"
                } | {"geometry": _explained(trainer, base)}
    return rows


def _inputs(trainer: Trainer, samples: int, seed: int) -> dict[str, Tensor]:
    """What drives the input face [X, Y, B, C], by kind."""
    task = trainer.state.model.task
    [batch] = task.batches("train", list(range(2 * samples)), 2 * samples)
    sentences = task.encoder(batch.source)
    questions = [source for source, _ in corpus.load("builtin:pairs").train.first(samples)]
    other = task.encoder(task.vocabulary.ids(questions, task.data.max_words))
    generator = torch.Generator().manual_seed(seed)
    noise = sentences.std() * torch.randn(samples, sentences.shape[1], generator=generator)
    embeddings = {
        "data": sentences[:samples],
        "same source": sentences[samples:],
        "other data": other,
        "noise": noise,
    }
    return {name: task.faces.drive(embedding).detach() for name, embedding in embeddings.items()}


def _updates(trainer: Trainer, x: Tensor) -> dict[str, Tensor]:
    """STDP's change [E] by statistic."""
    model = trainer.state.model
    with torch.no_grad():
        _, activity = model.network(x, model.task.write, x.shape[2])
    spikes, _ = graded_spikes(activity, model.plasticity.threshold)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return model.network.kernels.connection_dot(model.network.connections, a, b)

    return {
        name: pair_stdp(spikes, replace(model.plasticity.stdp, statistic=name), dot)[0]
        for name in ("covariance", "raw")
    }


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a, b)).double())[0, 1])


def _explained(trainer: Trainer, update: Tensor) -> float:
    """Share of the variance of `update` [E] between groups of equal offset and depth."""
    wiring, update = trainer.state.model.network.connections, update.double()
    depth = wiring.cell % wiring.dimensions[2]
    group = depth * NEIGHBOURS + wiring.place % NEIGHBOURS
    mean = torch.bincount(group, update) / torch.bincount(group).clamp_min(1)
    return float(mean[group].var(correction=0) / update.var(correction=0))


def _trainer(seed: int) -> Trainer:
    """Stage 3's rules, whole wiring, with the narrow rule of the cpu profile."""
    request = Request(stages="3", overrides=(*WORDS, f"seed={seed}"), profile="cpu", device="cpu")
    plan = make_plan(resolve_stages(load(request)))
    folder = StageFiles(Path(tempfile.mkdtemp(prefix="celltrain-nulls-")))
    return prepare(
        planning.resolved_stage(plan.stages[0]), folder, lambda *_, **__: None, lambda: False
    )
