"""What is recalled of patterns that plasticity has stored, against a Hopfield network.

The recipe's stage is trained once a seed. Then patterns are stored under every choice of the three
rules, with nothing else changed, and recalled from cues with 30 % of their bits flipped; under the
recipe's own choice also from other cues. A second lattice is trained with plasticity off.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from cell_train.planning import plan as planning
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.plasticity.update import PlasticityRule
from cell_train.run_folder.paths import StageFiles
from cell_train.tasks.recall.task import RecallBatch, RecallTask, capacity
from cell_train.training.pattern_storage import stored
from cell_train.training.setup import prepare
from cell_train.training.state import Model
from scripts.benchmarks.common import ROOT, Result

Answer = Callable[[RecallBatch], Tensor]

LOADS = (1, 2, 3, 4, 5)
MEMORIES = 5  # of each load, a seed
RULES = ("stdp", "bcm", "competition")
OFF = "plasticity.enable_plasticity=false"
ALL = " + ".join(RULES)
CUES = (("noisy", 0.1), ("noisy", 0.2), ("noisy", 0.3), ("noisy", 0.4))
CUES += (("partial", 0.3), ("partial", 0.6))

Curve = list[float]
"""Overlap by load."""


def recall(seeds: int) -> list[Result]:
    side_by_side = torch.get_num_threads()  # so small a lattice gains nothing from threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(side_by_side, context, torch.set_num_threads, (1,)) as pool:
        return results(list(pool.map(of_a_seed, range(seeds))))


def results(found: list[dict[str, Curve]]) -> list[Result]:
    """Means over the seeds; capacity also seed by seed."""
    every = {name: [of[name] for of in found] for name in found[0]}
    curves = {name: [mean(at) for at in zip(*of, strict=True)] for name, of in every.items()}
    rival = "Hopfield, noisy 30%"
    by_seed = {name: [_capacity(curve) for curve in every[name]] for name in (ALL, rival)}
    reached = _capacity(curves[ALL]), _capacity(curves[rival])
    return [
        Result("capacity at 30 % damage", *reached, "higher", by_seed),
        *(_told(name, curve) for name, curve in curves.items()),
    ]


def _told(name: str, curve: Curve) -> Result:
    """The value is that of as many patterns as the Hopfield network holds at 30 % damage: two."""
    parts = {f"{load} stored": round(at, 4) for load, at in zip(LOADS, curve, strict=True)}
    return Result(name, parts["2 stored"], None, "higher", parts)


def of_a_seed(seed: int) -> dict[str, Curve]:
    """Overlap with the patterns by what was done: a choice of rules, or a kind of cue."""
    model = _trained(seed)
    task: RecallTask = model.task
    found = {}
    for on in product((True, False), repeat=len(RULES)):
        chosen = [rule for rule, used in zip(RULES, on, strict=True) if used]
        ruled = replace(model, plasticity=_only(model.plasticity, chosen))
        found[" + ".join(chosen) or "no rule"] = _curve(task, _answers(ruled))
    found["other patterns stored"] = _curve(task, _answers(model), stored=False)
    found["trained without plasticity"] = _curve(task, _answers(_trained(seed, OFF)))
    recipe = task.recall
    for cue, damage in CUES:
        what = f"{cue} {damage:.0%}"
        task.recall = replace(recipe, cue=cue, damage=damage)
        found[f"recalled, {what}"] = _curve(task, _answers(model))
        found[f"Hopfield, {what}"] = _curve(task, task.hopfield)
        found[f"cue, {what}"] = _curve(task, lambda batch: batch.source)
    return found


def _curve(task: RecallTask, answer: Answer, stored: bool = True) -> Curve:
    return [task.mean(answer, load, MEMORIES, stored) for load in LOADS]


def _capacity(curve: Curve) -> int:
    return capacity(lambda load: curve[load - 1], len(curve))


def _only(full: PlasticityRule, chosen: list[str]) -> PlasticityRule:
    """The same with the rules that are not chosen idle."""
    rule = full
    if "stdp" not in chosen:
        rule = replace(rule, stdp=replace(full.stdp, learning_rate=0.0))
    if "bcm" not in chosen:
        rule = replace(rule, bcm=replace(full.bcm, learning_rate=0.0))
    if "competition" not in chosen:
        idle = replace(full.competition, winner_boost=1.0, lateral_inhibition=1.0)
        rule = replace(rule, competition=idle)
    return rule


def _answers(model: Model) -> Answer:
    """What the lattice says to a memory's cues after it has stored the patterns."""

    def answer(batch: RecallBatch) -> Tensor:
        with torch.no_grad():
            full, _ = stored(model, batch, batch.size)
            return full.present(batch)[0]

    return answer


def _trained(seed: int, *words: str) -> Model:
    """The recipe's lattice under the cpu profile, trained."""
    folder = ROOT / "recipes" / "recall"
    words = (f"seed={seed}", *words)
    request = Request(stages_dir=folder, overrides=words, profile="cpu", device="cpu")
    plan = make_plan(resolve_stages(load(request)))
    with tempfile.TemporaryDirectory(prefix="celltrain-recall-") as made:
        resolved = planning.resolved_stage(plan.stages[0])
        trainer = prepare(resolved, StageFiles(Path(made)), lambda *_, **__: None, lambda: False)
        trainer.run()
    return trainer.state.model
