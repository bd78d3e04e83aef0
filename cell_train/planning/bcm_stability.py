"""Whether a stage's rules can settle, from its constants alone."""

from cell_train.config.schema import Stage
from cell_train.planning.cost import sizes

WITHOUT_BCM = ("stdp", "competition")  # values of plasticity_rule


def smallest_stable_theta_rate(eta: float, target_activity: float, pre_power: float) -> float:
    """The alpha above which BCM with a linear neuron settles: b / (1 - b), b = eta y0 |pre|^2.

    `pre_power` is |pre|^2, the summed squared activity of a cell's sources. Infinite where no
    alpha is fast enough (b >= 1).
    """
    b = eta * target_activity * pre_power
    return b / (1 - b) if b < 1 else float("inf")


def cycling(stage: Stage) -> str | None:
    """Why BCM would cycle in a cell whose sources are all on target, or None."""
    section = stage.plasticity
    if not section.enable_plasticity or section.plasticity_rule in WITHOUT_BCM:
        return None
    rule = section.bcm
    sources = sizes.connections(stage) / sizes.cells(stage.lattice.dimensions)
    eta, power = rule.rate * section.stdp.learning_rate, sources * rule.target_activity**2
    slowest = smallest_stable_theta_rate(eta, rule.target_activity, power)
    if rule.theta_rate > slowest:
        return None
    what = f"plasticity.bcm.theta_rate {rule.theta_rate:g} is not above {slowest:.3g}"
    if slowest == float("inf"):
        what = "no plasticity.bcm.theta_rate is fast enough"
    return (
        f"{what}: BCM cycles instead of settling (learning rate {eta:g}, {sources:.3g} connections"
        f" a cell, target activity {rule.target_activity:g});"
        " raise theta_rate or lower plasticity.bcm.rate"
    )
