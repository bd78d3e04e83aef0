"""Stage files: the built-in ones, old ones, and wrong ones."""

from pathlib import Path

import pytest

from cell_train.config import stage_file
from cell_train.config.profiles import Tables
from cell_train.errors import ConfigError
from tests.conftest import Resolve

OLD = Path(__file__).with_name("old_stages")

TABLE = {  # description, profile, clustering, threshold, emergence, memory, epochs, limit, size
    1: ("Discovery + High Plasticity", "discovery", False, 0.01, False, True, 3, 500, [16] * 3),
    2: ("Learning + Moderate Plasticity", "learning", False, 0.02, False, True, 5, 1000, [20] * 3),
    3: ("Advanced Learning + Clustering", "learning", True, 0.03, True, True, 8, 2500, [24] * 3),
    4: (
        *("Consolidation + Refined Clustering", "consolidation", True, 0.05, True, True),
        *(10, 5000, [32, 32, 24]),
    ),
    5: (
        *("Production + Minimal Plasticity", "freeze", True, 0.1, True, True),
        *(15, 10000, [40, 40, 30]),
    ),
    6: ("Scale", "freeze", True, 0.1, True, True, 15, 10000, [48, 48, 36]),
}


def test_built_in_stages_are_the_specified_table(resolve_stages: Resolve) -> None:
    for resolution in resolve_stages("1-6", profile="fit"):
        stage = resolution.stage
        assert TABLE[stage.stage] == (
            stage.description,
            stage.plasticity_profile,
            stage.clustering_enabled,
            stage.activity_threshold,
            stage.emergence_tracking,
            stage.memory_optimizations,
            stage.epochs,
            stage.dataset_limit,
            stage.lattice.dimensions,
        )
        assert stage.batch_size == 32


def test_a_bare_old_file_gets_the_specified_defaults(resolve_stages: Resolve) -> None:
    (two,) = resolve_stages("2", profile="fit", folder=OLD)
    stage = two.stage
    assert (stage.epochs, stage.dataset_limit) == (4, 800)  # what it writes itself
    assert stage.lattice.dimensions == [20, 20, 20]  # by its number
    assert stage.batch_size == 32
    assert stage.plasticity_profile == "balanced"
    assert stage.activity_threshold == 0.05
    assert not stage.clustering_enabled
    assert not stage.memory_optimizations
    assert not stage.emergence_tracking
    assert not stage.optimization.mixed_precision.enabled
    assert not stage.optimization.gradient_checkpointing
    assert stage.lattice.connection_density == 1.0
    assert two.sources["lattice.dimensions"] == "stage table, row 2"


def test_old_paths_keep_their_meaning(resolve_stages: Resolve) -> None:
    (four,) = resolve_stages("4", profile="fit", folder=OLD)
    stage = four.stage
    assert stage.lattice.dimensions == [12, 12, 10]
    assert stage.optimization.mixed_precision.enabled
    assert stage.optimization.gradient_checkpointing
    assert stage.optimization.batch_size_auto_scaling
    assert stage.training.learning_rate == 1e-3
    assert stage.batch_size == 8
    assert four.sources["lattice.dimensions"] == f"{OLD}/stage4.yaml:6"
    assert four.sources["optimization.gradient_checkpointing"] == f"{OLD}/stage4.yaml:9"
    assert stage.lattice.sparse_connection_ratio == 0.3  # stages 4 and up, whatever else


def test_an_old_file_outside_the_table_is_16_cubed(resolve_stages: Resolve) -> None:
    (nine,) = resolve_stages("9", profile="fit", folder=OLD)
    assert nine.stage.lattice.dimensions == [16, 16, 16]
    assert nine.stage.lattice.connection_density == 0.3  # the rule holds for any number


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("epoch: 3", "a.yaml:2:1: unknown key 'epoch' (did you mean epochs?)."),
        ("epochs: -1", "a.yaml:2:9: epochs must be at least 1, not -1."),
        ("epochs: 1e3", "a.yaml:2:9: epochs must be a whole number, not 1e3; write 1000."),
        ("epochs: 012", "a.yaml:2:9: epochs must be a whole number, not '012'; write 12."),
        ("epochs: 1:30", "a.yaml:2:9: epochs must be a whole number, not '1:30'."),
        ("epochs: true", "a.yaml:2:9: epochs must be a whole number, not true."),
        ("epochs:", "a.yaml:2:8: epochs must be a whole number, not empty."),
        ("batch_size: 8GB", "a.yaml:2:13: batch_size must be a whole number, not '8GB'."),
        (
            "clustering_enabled: yes",
            "a.yaml:2:21: clustering_enabled must be true or false, not 'yes'; write true.",
        ),
        (
            "clustering_enabled: on",
            "a.yaml:2:21: clustering_enabled must be true or false, not 'on'; write true.",
        ),
        (
            "plasticity_profile: frozen",
            "a.yaml:2:21: plasticity_profile 'frozen' is unknown (did you mean freeze?).",
        ),
        ("objective: word", "a.yaml:2:12: objective must be one of embedding, text, not 'word'."),
        ("activity_threshold: .inf", "a.yaml:2:21: activity_threshold must be a number"),
        ("lattice: 16", "a.yaml:2:10: lattice must be a section of keys, not 16."),
        ("lattice: {dimensions: [16, 16]}", "a.yaml:2:23: lattice.dimensions must be three"),
        ("lattice: {dimensions: [0, 16, 16]}", "must be three whole numbers of at least 1"),
        ("lattice: {dimensions: 16}", "must be a list of whole numbers"),
        ("lattice: {connection_density: 0}", "must be more than 0 and at most 1, not 0."),
        ("lattice.channels: 3", "'lattice.channels'; write channels inside the section lattice."),
        ("channels: 3", "unknown key 'channels' (did you mean lattice.channels?)."),
        ("description: ${oc.env:HOME}", "interpolation (${...}, ???) is not supported"),
        (
            "task: recal",
            "task must be text, recall, voxels, grow or package.module:Name from a package",
        ),
        (
            "dimensions: [8, 8, 8]\nlattice: {dimensions: [9, 9, 9]}",
            "a.yaml:2:13: dimensions says what lattice.dimensions says at",
        ),
        (
            "training: {mixed_precision: maybe}",
            "a.yaml:2:29: optimization.mixed_precision.enabled must be true or false",
        ),
    ],
)
def test_a_wrong_line_is_located_and_explained(
    tmp_path: Path, tables: Tables, line: str, says: str
) -> None:
    write(tmp_path, a=f"stage: 1\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        stage_file.load_folder(tmp_path, tables.plasticity)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_all_errors_of_all_files_are_reported_at_once(tmp_path: Path, tables: Tables) -> None:
    write(tmp_path, a="stage: 1\nepochs: 0\nlatice: {}\n", b="stage: 2\nseed: -1\n", c="- 1\n")
    with pytest.raises(ConfigError) as caught:
        stage_file.load_folder(tmp_path, tables.plasticity)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{tmp_path}/").split(": ")[0] for line in lines] == [
        "a.yaml:2:9",
        "a.yaml:3:1",
        "b.yaml:2:7",
        "c.yaml:1:1",
    ]


def test_two_files_cannot_be_the_same_stage(tmp_path: Path, tables: Tables) -> None:
    write(tmp_path, a="stage: 3\n", b="\nstage: 3\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:2:8: stage 3 is already defined by .*a\.yaml"):
        stage_file.load_folder(tmp_path, tables.plasticity)


def test_a_stage_outside_the_table_must_say_how_long(tmp_path: Path, tables: Tables) -> None:
    write(tmp_path, a="stage: 7\nepochs: 3\n")
    with pytest.raises(ConfigError) as caught:
        stage_file.load_folder(tmp_path, tables.plasticity)
    assert [line.split(": ")[1].split()[0] for line in str(caught.value).splitlines()] == [
        "description",
        "dataset_limit",
    ]


def test_empty_places_are_named(tmp_path: Path, tables: Tables) -> None:
    with pytest.raises(ConfigError, match="holds no stage file"):
        stage_file.load_folder(tmp_path, tables.plasticity)
    with pytest.raises(ConfigError, match="is not a folder"):
        stage_file.load_folder(tmp_path / "absent", tables.plasticity)
    write(tmp_path, a="")
    with pytest.raises(ConfigError, match="has no stage number"):
        stage_file.load_folder(tmp_path, tables.plasticity)
