"""What was probably meant by a word that nobody knows."""

import difflib
import re
from collections.abc import Iterable

LONGEST = 100  # characters of a word that may be a slip; comparing takes their square
SYNONYMS = {  # what other tools call it, and what people do
    "lr": "training.learning_rate",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "limit": "dataset_limit",
    "max_samples": "dataset_limit",
    "dataset": "data.path",
    "dataset_path": "data.path",
    "file": "data.path",
    "random_seed": "seed",
    "name": "description",
    "size": "lattice.dimensions",
    "shape": "lattice.dimensions",
    "grid": "lattice.dimensions",
    "grid_size": "lattice.dimensions",
    "lattice_size": "lattice.dimensions",
    "steps": "lattice.ticks",
    "density": "lattice.connection_density",
    "amp": "optimization.mixed_precision",
    "fp16": "optimization.mixed_precision",
    "bf16": "optimization.mixed_precision",
    "checkpointing": "optimization.gradient_checkpointing",
    "grad_clip": "training.clip_norm",
    "gradient_clipping": "training.clip_norm",
    "warmup": "training.warmup_steps",
    "clustering": "clustering_enabled",
    "profile": "plasticity_profile",
    "threshold": "activity_threshold",
    "minimum": "advance_if.min",
}

_DASH = re.compile("[-\u2010-\u2015\u2212 ]")  # also those of typesetters


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or "" when none is near."""
    if len(word) > LONGEST:
        return ""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def meant(dotted: str, known: Iterable[str]) -> str:
    """The key that was probably meant, or "".

    The name counts more than the section, since the section is what people forget.
    """
    if len(dotted) > LONGEST:
        return ""
    section, _, name = dotted.rpartition(".")
    name = _DASH.sub("_", name.lower())
    words = list(known)
    if name not in {key.rpartition(".")[2] for key in words} and SYNONYMS.get(name) in words:
        return SYNONYMS[name]

    def likeness(key: str) -> tuple[float, float]:
        """(of the names, of all)"""
        its_section, _, its_name = key.rpartition(".")
        names = _ratio(name, its_name)
        return names, names + 0.3 * _ratio(section, its_section) - 0.01 * key.count(".")

    best = max(words, key=lambda key: likeness(key)[1], default="")
    return best if best and likeness(best)[0] >= 0.7 else ""


def _ratio(one: str, other: str) -> float:
    return 1.0 if one == other else difflib.SequenceMatcher(None, one, other).ratio()


def did_you_mean(word: str) -> str:
    return f"did you mean {word}?" if word else ""
