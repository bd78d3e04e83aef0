"""Does it matter? Held-out BLEU with everything on, and with one thing after another off.

Stages 1 to 3 as the cpu profile trains them (4, 5 and 6 cells a side), each grown from the one
before, on so few built-in sentences that BLEU ends midway. Every arm sees the same sentences in the
same order and starts from the same numbers; all connections exist in all arms, so that they
differ in rules and not in wiring. What was decided before the first run: the primary metric is
held-out BLEU, the contrast is one arm less another in pairs of equal seed, intervals are
bootstrapped over seeds, p-values are of the sign-flip test and corrected by Holm over the arms. All
else is secondary. One JSON line an arm and seed: what is in the file is not trained again.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from cell_train.data import builtin
from scripts.ablations import contrast, runs
from scripts.benchmarks.common import Result

STAGES = "1-3"
SAMPLES = {1: 448, 2: 640, 3: 1024}  # an epoch
EPOCHS = {1: 3, 2: 3, 3: 4}
SENTENCES = 3000  # built in, a tenth of them held out
WORDS = (
    "text.embedding=128",  # what the decoder costs, less
    "text.decoder_hidden=64",
    "lattice.connection_density=1.0",
    "data.held_out=200",
    "data.max_words=13",  # all sentences are shorter
    "monitor.evaluate=8",  # while training
    "plasticity.emergence_config.free_ticks=0",  # measured elsewhere, and no part of training
)
SPECIFIED = "plasticity.as_specified=true"
ARMS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "plasticity off": (
        "plasticity.enable_plasticity=false",
        "plasticity.enable_clustering=false",
    ),
    "as specified": (SPECIFIED,),
    # One thing after another taken from the rules as specified.
    "STDP off": (SPECIFIED, "plasticity.stdp.a_plus=0", "plasticity.stdp.a_minus=0"),
    "BCM off": (SPECIFIED, "plasticity.bcm.rate=0"),
    "competition off": (
        SPECIFIED,
        "plasticity.competition.winner_boost=1",
        "plasticity.competition.lateral_inhibition=1",
    ),
    "clustering off": (SPECIFIED, "plasticity.enable_clustering=false"),
    "morphology off": (SPECIFIED, "plasticity.emergence_config.morphology_tracking=false"),
    "constant balanced": (  # clustering, but no schedule and no emergence
        SPECIFIED,
        "plasticity_profile=balanced",
        "activity_threshold=0.05",
        "clustering_enabled=true",
        "emergence_tracking=false",
    ),
    # What made it help, one step after another.
    "gentle competition": ("plasticity.three_factor.rate=0",),
    "strong STDP": (
        "plasticity.three_factor.rate=0",
        "plasticity.stdp.a_plus=30",
        "plasticity.stdp.a_minus=31.5",
    ),
    "third factor": ("plasticity.competition.kappa=0.1",),
    "frozen lattice": ("monitor.control=frozen",),
    "bypass": ("monitor.control=bypass",),
}
METRICS = ("bleu", "cosine", "lesion_bleu", "lesion_cosine", "kept", "healed", "loss")
HEALING = 64  # steps of plasticity alone after the lesion, two epochs; nothing else learns


def text(
    seeds: int, results: Path, summary: bool, figure: Path | None, against: str
) -> list[Result]:
    """Train what `results` lacks of `seeds` seeds, unless only its `summary` is asked for.

    All arms are held against one of them.
    """
    seen = _read(results)
    for arm, seed in product(ARMS, range(seeds)):  # the contrast that matters most comes first
        if not summary and (arm, seed) not in seen:
            seen[arm, seed] = _trained(arm, seed)
            with results.open("a") as file:
                file.write(json.dumps(seen[arm, seed]) + "\n")
    arms = [against, *(arm for arm in ARMS if arm != against)]
    contrasts = contrast.paired(seen, arms, METRICS)
    print(contrast.table(contrasts))
    if figure:
        title = f"Held-out BLEU of each arm less {against}, by seed"
        figure.write_text(contrast.figure(contrasts, METRICS[0], title))
    return contrast.results(contrasts)


def _read(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return {(record["arm"], record["seed"]): record for record in records}


def _trained(arm: str, seed: int) -> dict[str, Any]:
    began = time.process_time()
    stages = runs.resolved(STAGES, (*words(), *ARMS[arm]), seed)
    for stage in stages:
        number = stage.number
        stage.stage.epochs, stage.execution.samples_per_epoch = EPOCHS[number], SAMPLES[number]
    *_, last = runs.trained(stages)
    whole = {name: last.row.metrics[name] for name in ("bleu", "cosine")}
    record = {"arm": arm, "seed": seed, **whole, "loss": last.row.loss}
    if arm != "bypass":  # it has no lattice to damage
        hurt = last.metrics(runs.SPHERE)
        record |= {f"lesion_{name}": hurt[name] for name in whole}
        healed = last.healed(runs.SPHERE, HEALING)
        record |= {f"healed_{name}": healed[name] for name in whole}
        if whole["bleu"]:
            record["kept"] = hurt["bleu"] / whole["bleu"]
            record["healed"] = healed["bleu"] / whole["bleu"]
    return record | {"cpu_seconds": round(time.process_time() - began, 1)}


@cache
def words() -> tuple[str, ...]:
    """WORDS, and the sentences in a file, which stages read sooner than they make them anew."""
    path = Path(tempfile.mkdtemp(prefix="celltrain-text-")) / "sentences.txt"
    path.write_text("\n".join(builtin.sentences(SENTENCES, seed=0)) + "\n")
    return (*WORDS, f"data.path={path}")
