"""The constants of the plasticity rules that a stage asks for."""

from dataclasses import asdict

from cell_train import plugins
from cell_train.config.schema import Stage
from cell_train.plasticity.bcm import BcmRule
from cell_train.plasticity.competition import Bounds, CompetitionRule
from cell_train.plasticity.homeostasis import ScalingRule
from cell_train.plasticity.stdp import StdpRule, Triplet
from cell_train.plasticity.update import RULES, PlasticityRule


def plasticity_rule(stage: Stage) -> PlasticityRule:
    """The rules' constants of a stage."""
    section = stage.plasticity
    stdp, bcm, competition = section.stdp, section.bcm, section.competition
    scaling = section.homeostasis
    clustering = section.clustering_config
    return PlasticityRule(
        rule=section.plasticity_rule,
        threshold=stage.activity_threshold,
        stdp=StdpRule(
            learning_rate=stdp.learning_rate,
            time_window=stdp.time_window,
            a_plus=stdp.a_plus,
            a_minus=stdp.a_minus,
            pairing=stdp.pairing,
            coincidence=stdp.coincidence,
            statistic=stdp.statistic,
            persist_traces=section.persist_traces,
        ),
        bcm=BcmRule(bcm.rate * stdp.learning_rate, bcm.theta_rate, bcm.target_activity),
        competition=CompetitionRule(**asdict(competition)),
        bounds=Bounds(stage.lattice.strength_min, stage.lattice.strength_max),
        triplet=Triplet(**asdict(section.triplet)),
        own=None
        if section.plasticity_rule in RULES
        else plugins.load("plasticity.plasticity_rule", section.plasticity_rule),
        credited=section.three_factor.rate * stdp.learning_rate,
        scaling=ScalingRule(scaling.rate, scaling.mean_rate, bcm.target_activity)
        if scaling.rate > 0
        else None,
        priority=clustering.priority if section.enable_clustering else 0.0,
        similarity_threshold=clustering.similarity_threshold,
    )
