"""Why a stage is granted what it is, and what of it is not what the stage asks."""

from dataclasses import dataclass
from typing import Any

from cell_train.config.schema import Execution
from cell_train.hardware.probe import GIB
from cell_train.planning.search import Choice, Terms


@dataclass(frozen=True)
class Change:
    """A key that the profile, the search or an option changed."""

    key: str
    before: Any
    now: Any
    by: str


def reasons(choice: Choice, execution: Execution, terms: Terms) -> dict[str, str]:
    """A sentence for each choice."""
    resolution, sources = choice.resolution, choice.resolution.sources
    granted, wanted = choice.stage.lattice.dimensions, resolution.requested_dimensions
    source = sources["lattice.dimensions"]
    return {
        "dimensions": f"as asked ({source})" if granted == wanted else source,
        "connection_density": sources["lattice.connection_density"],
        "precision": f"{execution.precision} ({sources['optimization.mixed_precision.enabled']})",
        "batch_size": _batch(choice, terms),
        "segment": _segment(choice),
        "samples": choice.samples_reason,
    }


def changes(choice: Choice, execution: Execution, terms: Terms) -> tuple[Change, ...]:
    """All that is not as the stage asks."""
    stage, sources = choice.stage, choice.resolution.sources
    found = [
        Change(key, before, now, sources[key])
        for key, (before, now) in choice.resolution.granted().items()
    ]
    decided = (
        Change("micro_batch", stage.batch_size, execution.micro_batch, _limit(choice, terms)),
        Change("segment", 1, execution.segment, "search"),
        Change(
            "samples_per_epoch",
            stage.dataset_limit,
            execution.samples_per_epoch,
            choice.samples_reason,
        ),
    )
    return (*found, *(one for one in decided if one.now != one.before))


def _limit(choice: Choice, terms: Terms) -> str:
    """What made the micro-batch smaller than the batch."""
    largest = max(rung.micro_batch for rung in choice.rungs)
    return f"memory:{terms.profile.name}" if choice.rung.micro_batch == largest else "search"


def _batch(choice: Choice, terms: Terms) -> str:
    chosen, batch, limit = choice.rung, choice.stage.batch_size, terms.profile.batch_size_limit
    if chosen.peak > terms.room:
        return "nothing fits; this takes least"
    if choice.at + 1 < len(choice.rungs):
        faster = choice.rungs[choice.at + 1]
        return (
            f"the fastest that fits; {faster.micro_batch}×{batch // faster.micro_batch} with"
            f" segments of {faster.segment} would take {faster.peak / GIB:.2f} GiB"
        )
    if limit is None or chosen.micro_batch == batch:
        return "the whole batch fits"
    allowed = f"memory:{terms.profile.name} allows {limit}"
    if chosen.micro_batch == limit:
        return allowed
    return f"{allowed}; {chosen.micro_batch} is the largest that divides {batch}"


def _segment(choice: Choice) -> str:
    if choice.rung.segment > 1:
        return "states between are computed again, to fit"
    if choice.stage.optimization.gradient_checkpointing:
        return "every tick's state fits"
    return "gradient_checkpointing is off"
