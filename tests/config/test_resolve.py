"""Layers: which value wins, and where it says it came from."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cell_train._version import __version__
from cell_train.config import profiles, resolve
from cell_train.config.schema import Execution, ResolvedStage
from cell_train.errors import ConfigError
from cell_train.storage import write_text
from tests.conftest import MakePlan, Resolve

RECIPES = sorted((Path(__file__).parents[2] / "recipes").iterdir())


def test_precedence_from_defaults_to_command_line(tmp_path: Path, resolve_stages: Resolve) -> None:
    """Each key is set on every layer up to the one that must win."""
    (tmp_path / "s.yaml").write_text(
        "stage: 1\nplasticity_profile: discovery\nmemory_optimizations: true\n"
        "plasticity: {stdp: {time_window: 21}}\n"
        "lattice: {channels: 12, hidden: 13, kernels: 3, dimensions: [20, 20, 20]}\n"
    )
    (one,) = resolve_stages(
        folder=tmp_path,
        words=["lattice.kernels=5", "seed=1", "seed=2"],
        environment={"CELLTRAIN_LATTICE__HIDDEN": "14", "CELLTRAIN_LATTICE__KERNELS": "4"},
    )
    stage, sources = one.stage, one.sources
    found = {
        "training.clip_norm": (stage.training.clip_norm, 1.0, "defaults"),
        "plasticity.stdp.learning_rate": (
            *(stage.plasticity.stdp.learning_rate, 0.05, "profile:discovery"),
        ),
        "plasticity.stdp.time_window": (
            *(stage.plasticity.stdp.time_window, 21.0, f"{tmp_path}/s.yaml:4"),
        ),
        "lattice.channels": (stage.lattice.channels, 8, "memory:cpu"),
        "lattice.dimensions": (stage.lattice.dimensions, [5, 5, 5], "memory:cpu"),
        "lattice.hidden": (stage.lattice.hidden, 14, "env CELLTRAIN_LATTICE__HIDDEN"),
        "lattice.kernels": (stage.lattice.kernels, 5, "command line"),
        "seed": (stage.seed, 2, "command line"),
    }
    for key, (value, expected, source) in found.items():
        assert value == expected, key
        assert sources[key] == source, key
    assert one.requested_dimensions == [20, 20, 20]


def test_every_value_has_a_source(resolve_stages: Resolve) -> None:
    def dotted(values: dict[str, Any], prefix: str = "") -> set[str]:
        keys: set[str] = set()
        for name, value in values.items():
            inner = isinstance(value, dict)
            keys |= dotted(value, f"{prefix}{name}.") if inner else {prefix + name}
        return keys

    gate = ["advance_if={metric: bleu, min: 0}"]
    for one in [*resolve_stages("1-6", vram=16), *resolve_stages("1", gate)]:
        assert dotted(asdict(one.stage)) == set(one.sources)


@pytest.mark.parametrize(
    ("profile", "stdp", "competition"),
    [
        ("discovery", (0.05, 20), (1.10, 0.95)),
        ("learning", (0.025, 30), (1.05, 0.97)),
        ("balanced", (0.02, 40), (1.05, 0.98)),
        ("consolidation", (0.01, 50), (1.02, 0.98)),
        ("freeze", (0.001, 100), (1.0, 1.0)),
    ],
)
def test_plasticity_profiles(
    resolve_stages: Resolve,
    profile: str,
    stdp: tuple[float, float],
    competition: tuple[float, float],
) -> None:
    (one,) = resolve_stages("1", [f"plasticity_profile={profile}"])
    rules = one.stage.plasticity
    assert (rules.stdp.learning_rate, rules.stdp.time_window) == stdp
    assert (rules.competition.winner_boost, rules.competition.lateral_inhibition) == competition
    assert rules.enable_plasticity
    assert rules.plasticity_rule == "combined"


def test_flags_stand_for_sections(resolve_stages: Resolve) -> None:
    (off,) = resolve_stages("1", ["memory_optimizations=false"], profile="fit")
    (on,) = resolve_stages("3", profile="fit")
    assert not off.stage.plasticity.enable_clustering
    assert not off.stage.plasticity.emergence_config.morphology_tracking
    assert not off.stage.optimization.gradient_checkpointing
    rules, optimization = on.stage.plasticity, on.stage.optimization
    assert rules.enable_clustering
    assert rules.clustering_config.priority == 0.3
    assert rules.clustering_config.max_clusters == 8
    assert rules.emergence_config.frequency_analysis
    assert rules.emergence_config.pattern_amplification == 1.2
    assert optimization.mixed_precision.enabled
    assert optimization.batch_size_auto_scaling
    assert (optimization.sparse_connections.enabled, optimization.sparse_connections.ratio) == (
        True,
        0.3,
    )
    (flagged,) = resolve_stages("1", ["clustering_enabled=true"], profile="fit")
    assert flagged.stage.plasticity.enable_clustering
    assert flagged.stage.optimization.sparse_connections.ratio == 0.3
    assert not flagged.stage.optimization.sparse_connections.enabled


def plastic(resolve_stages: Resolve, *words: str) -> tuple[float, float]:
    """(competition.kappa, three_factor.rate) of a stage with these overrides."""
    (one,) = resolve_stages("1", words)
    rules = one.stage.plasticity
    return rules.competition.kappa, rules.three_factor.rate


def test_a_third_factor_is_on_where_a_task_has_a_loss(
    resolve_stages: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "tests")
    assert plastic(resolve_stages) == (0.01, 0.8)
    assert plastic(resolve_stages, "plasticity.three_factor.rate=0.2") == (0.01, 0.2)
    assert plastic(resolve_stages, "plasticity.enable_plasticity=false") == (0.01, 0.0)
    assert plastic(resolve_stages, "task=recall", "plasticity.when=forward") == (0.01, 0.0)
    assert plastic(resolve_stages, "lattice.rule=tests.support.toy:Rule") == (0.01, 0.0)


def test_the_rules_as_first_specified_are_one_key_away(resolve_stages: Resolve) -> None:
    assert plastic(resolve_stages, "plasticity.as_specified=true") == (0.1, 0.0)
    (one,) = resolve_stages("1", ["plasticity.as_specified=true"])
    assert one.sources["plasticity.competition.kappa"] == "plasticity.as_specified"
    both = ("plasticity.as_specified=true", "plasticity.competition.kappa=0.05")
    assert plastic(resolve_stages, *both) == (0.05, 0.0)


@pytest.mark.parametrize(
    ("vram", "densities"),
    [
        (8, [0.5, 0.5, 0.5, 0.3, 0.3]),
        (16, [0.7, 0.7, 0.7, 0.3, 0.3]),
        (24, [0.9, 0.9, 0.7, 0.3, 0.3]),
        (None, [1.0, 1.0, 0.7, 0.3, 0.3]),
    ],
)
def test_density_is_the_smallest_that_anything_asks_for(
    resolve_stages: Resolve, vram: float | None, densities: list[float]
) -> None:
    found = [one.stage.lattice.connection_density for one in resolve_stages(vram=vram)]
    assert found == densities


def test_what_set_the_density_is_known(resolve_stages: Resolve, tmp_path: Path) -> None:
    key = "lattice.connection_density"
    one, _, three, four, _ = resolve_stages(vram=8)
    assert one.sources[key] == three.sources[key] == "memory:8gb"
    assert four.sources[key] == "lattice.sparse_connection_ratio (stages 4 and up)"
    (forced,) = resolve_stages("4", [f"{key}=0.9"], vram=8)
    assert (forced.stage.lattice.connection_density, forced.sources[key]) == (0.9, "command line")
    (tmp_path / "s.yaml").write_text("stage: 1\nlattice: {connection_density: 0.9}\n")
    (written,) = resolve_stages(folder=tmp_path, vram=8)
    assert written.stage.lattice.connection_density == 0.5  # a stage file asks, it does not win
    assert written.sources[key] == "memory:8gb"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["latice.channels=3"], "unknown key 'latice.channels' (did you mean lattice.channels?)"),
        (["channels=3"], "unknown key 'channels' (did you mean lattice.channels?)"),
        (["lattice.channels=x"], "lattice.channels must be a whole number, not 'x'"),
        (["lattice.channels="], "lattice.channels must be a whole number, not empty"),
        (["epochs=0"], "epochs must be at least 1, not 0"),
        (["seed"], "'seed' is no override; write key=value"),
        (["stage=3"], "stage cannot be overridden"),
        (["lattice=3"], "lattice must be a section of keys"),
        (["lattice.dimensions=[1,"], "lattice.dimensions cannot be '[1,'"),
        (["plasticity_profile=none"], "plasticity_profile 'none' is unknown"),
        (["advance_if.metric=bleu"], "advance_if needs both its keys"),
        (["lattice.ticks=2"], "lattice.ticks 2 (command line) is too few"),
        (["lattice.strength_max=1"], "must lie within lattice.strength_min 0.1"),
    ],
)
def test_wrong_overrides_are_explained(
    resolve_stages: Resolve, words: list[str], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_stages("1", words)
    assert says in str(caught.value)


def test_a_wrong_variable_is_named(resolve_stages: Resolve) -> None:
    with pytest.raises(ConfigError, match=r"CELLTRAIN_EPOCH: .*did you mean epochs"):
        resolve_stages("1", environment={"CELLTRAIN_EPOCH": "3"})


def test_overrides_may_use_old_paths_and_whole_sections(resolve_stages: Resolve) -> None:
    (one,) = resolve_stages(
        "1",
        [
            "dimensions=[8, 8, 8]",
            "training.mixed_precision=true",
            "advance_if={metric: bleu, min: 0.3}",
            "description=a: b = [c",
            "data.path=~/texts/x.txt",
        ],
    )
    assert one.stage.lattice.dimensions == [8, 8, 8]  # also over the profile's cap
    assert one.stage.optimization.mixed_precision.enabled
    assert one.stage.advance_if is not None
    assert one.stage.advance_if.min == 0.3
    assert one.stage.description == "a: b = [c"
    assert one.stage.data.path == str(Path.home() / "texts/x.txt")


def test_built_in_text_is_no_file(resolve_stages: Resolve) -> None:
    (one,) = resolve_stages("1", ["data.path=builtin:pairs"])
    assert one.stage.data.path == "builtin:pairs"


def test_a_resolved_stage_survives_the_file(tmp_path: Path, resolve_stages: Resolve) -> None:
    (one,) = resolve_stages("4", ["advance_if={metric: bleu, min: 0.3}", "description='on'"])
    execution = Execution("cpu", 2, "fp32", 8, 4, 1, 100, 10**9, 2 * 10**9)
    resolved = ResolvedStage(1, __version__, one.stage, execution, None, one.sources)
    path = tmp_path / "resolved.yaml"
    path.write_text(resolve.write(resolved))
    assert resolve.read(path) == resolved
    path.write_text("schema: 1\nstage: {nonsense: 1}\n")
    with pytest.raises(ConfigError, match="is not a resolved stage"):
        resolve.read(path)


def test_own_profiles_extend_the_tables(tmp_path: Path, resolve_stages: Resolve) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(
        "plasticity:\n"
        "  mine: {learning_rate: 0.5, time_window: 5, winner_boost: 1, lateral_inhibition: 1}\n"
        "memory:\n"
        "  12gb: {up_to_gb: 12, max_dimensions: [28, 28, 24], mixed_precision: true,"
        " sparse_ratio: 0.4, batch_size_limit: 12}\n"
        "  8gb: {batch_size_limit: 4}\n"
        "cpu:\n  samples: {5: 3000}\n"
    )
    tables = profiles.load(path)
    assert list(tables.memory) == ["8gb", "12gb", "16gb", "24gb"]
    assert profiles.choose(tables, None, 10).name == "12gb"
    assert tables.memory["8gb"].batch_size_limit == 4
    assert tables.memory["8gb"].max_dimensions == [24, 24, 24]
    assert tables.cpu.samples[5] == 3000
    assert tables.cpu.batch_size_limit == profiles.load().cpu.batch_size_limit
    (one,) = resolve_stages("1", ["plasticity_profile=mine"], own_tables=tables)
    assert one.stage.plasticity.stdp.learning_rate == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("memry: {}", "p.yaml:1:1: unknown section 'memry' (did you mean memory?)"),
        ("memory: {4gb: {up_to_gb: 4}}", "max_dimensions is missing from this memory profile"),
        ("memory: {8gb: {sparse_ratio: 1.5}}", "sparse_ratio must be at least 0 and less than 1"),
        ("cpu: {samples: {5: 0}}", "samples of stage 5 must be at least 1"),
        ("cpu: {samples: {five: 1}}", "samples are by stage number, not 'five'"),
        ("cpu: {scale: 0}", "scale must be more than 0"),
        ("plasticity: 3", "plasticity must be a table of rows"),
        ("- 1", "must hold the sections"),
    ],
)
def test_wrong_profiles_are_explained(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        profiles.load(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("folder", RECIPES, ids=lambda path: path.name)
@pytest.mark.parametrize("vram", [None, 24])
def test_a_recipe_resolves_to_all_its_stages(
    resolve_stages: Resolve, folder: Path, vram: float | None
) -> None:
    stages = resolve_stages(folder=folder, vram=vram)
    assert len(stages) == len(list(folder.glob("*.yaml")))


@pytest.mark.parametrize(
    "variable",
    [
        *("CELLTRAIN_SERVICE_HOST", "CELLTRAIN_SERVICE_PORT", "CELLTRAIN_SERVICE_PORT_HTTP"),
        *("CELLTRAIN_PORT", "CELLTRAIN_PORT_80_TCP", "CELLTRAIN_PORT_80_TCP_ADDR"),
        *("CELLTRAIN_NOTEBOOK_SERVICE_HOST", "CELLTRAIN_NOTEBOOK_PORT_8888_TCP_PROTO"),
    ],
)
def test_variables_that_an_orchestrator_sets_are_no_overrides(
    resolve_stages: Resolve, variable: str
) -> None:
    (one,) = resolve_stages("1", environment={variable: "tcp://10.0.0.1:80"})
    (other,) = resolve_stages("1")
    assert one.stage == other.stage


def test_a_path_of_any_bytes_comes_back_from_resolved_yaml(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    (stage,) = make_plan("1").resolved()
    name = os.fsdecode(b"/caf\xe9 \x80/\xff'\n\t\"x")
    odd = replace(stage, stage=replace(stage.stage, data=replace(stage.stage.data, path=name)))
    path = tmp_path / "resolved.yaml"
    write_text(path, resolve.write(odd))
    assert resolve.read(path) == odd
