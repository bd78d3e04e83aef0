"""What `show` and `why` say."""

from dataclasses import asdict
from pathlib import Path

import pytest

from cell_train.config import stage_file
from cell_train.config.profiles import Tables
from cell_train.config.reference import explain, keys
from cell_train.errors import ConfigError
from tests.conftest import Resolve

WORDS = ["advance_if={metric: bleu, min: 0.3}", "description=a: 'b' # c\n\td", "seed=3"]


@pytest.mark.parametrize("with_sources", [False, True])
@pytest.mark.parametrize(("vram", "words"), [(None, WORDS), (8, []), (16, ["lattice.ticks=99"])])
def test_what_is_shown_is_a_stage_file_of_the_same_values(
    tmp_path: Path,
    resolve_stages: Resolve,
    with_sources: bool,
    vram: float | None,
    words: list[str],
) -> None:
    for one in resolve_stages("1-6", words, vram=vram):
        (tmp_path / "s.yaml").write_text(explain.as_yaml(one, with_sources))
        (again,) = resolve_stages(str(one.number), profile="fit", folder=tmp_path)
        assert asdict(again.stage) == asdict(one.stage)


def test_sources_stand_in_one_column_behind_every_value(resolve_stages: Resolve) -> None:
    (one,) = resolve_stages("4", ["seed=3"], vram=16)
    lines = explain.as_yaml(one, True).splitlines()
    sourced = [line for line in lines if "#" in line]
    assert len(sourced) == len(one.sources)
    assert len({line.index("# ") for line in sourced}) == 1
    assert any(line.split() == ["seed:", "3", "#", "command", "line"] for line in lines)


def test_a_path_of_two_lines_stays_in_its_comment(tmp_path: Path, resolve_stages: Resolve) -> None:
    folder = tmp_path / "a\nseed: 9 #"
    folder.mkdir()
    (folder / "s.yaml").write_text("stage: 1\n")
    (one,) = resolve_stages(folder=folder)
    text = explain.as_yaml(one, True)
    assert "a?seed: 9 #/s.yaml:1" in text
    assert len(text.splitlines()) == len(explain.as_yaml(one, False).splitlines())


def test_every_layer_that_set_a_key_is_told_low_to_high(
    tmp_path: Path, resolve_stages: Resolve
) -> None:
    (tmp_path / "s.yaml").write_text("stage: 1\nlattice: {channels: 12}\n")
    (one,) = resolve_stages(
        folder=tmp_path,
        words=["lattice.channels=5"],
        environment={"CELLTRAIN_LATTICE__CHANNELS": "4"},
    )
    assert one.history("lattice.channels") == [
        (16, "defaults"),
        (12, f"{tmp_path}/s.yaml:2"),
        (8, "memory:cpu"),
        (4, "env CELLTRAIN_LATTICE__CHANNELS"),
        (5, "command line"),
    ]
    said = explain.why(explain.key_named("lattice.channels"), [one]).splitlines()
    assert said[-1] == " => 5   command line"
    assert said[-5] == "    16  defaults"


def test_the_last_layer_of_a_key_is_its_value_and_source(resolve_stages: Resolve) -> None:
    for one in [*resolve_stages("1-6", WORDS, vram=8), *resolve_stages("1-6")]:
        for key, source in one.sources.items():
            value, last = one.history(key)[-1]
            assert last == source
            final: object = asdict(one.stage)
            for name in key.split("."):
                assert isinstance(final, dict)
                final = final[name]
            assert value == final, key


def test_stages_that_agree_are_told_of_once_and_causes_are_named(resolve_stages: Resolve) -> None:
    stages = resolve_stages("1-4", vram=16)
    density = explain.why(explain.key_named("lattice.connection_density"), stages)
    assert "\nstages 1, 2\n    1.0  defaults\n => 0.7  memory:16gb\n" in density
    assert " => 0.3  lattice.sparse_connection_ratio (stages 4 and up)" in density
    rate = explain.why(explain.key_named("plasticity.stdp.learning_rate"), stages[:1])
    assert " => 0.05  profile:discovery (plasticity_profile, stages/stage1.yaml:8)" in rate


def test_a_section_is_its_keys(resolve_stages: Resolve) -> None:
    (one,) = resolve_stages("1")
    said = explain.why(explain.key_named("plasticity.bcm"), [one])
    assert [line.split()[:2] for line in said.splitlines()[4:]] == [
        ["plasticity.bcm.rate", "0.1"],
        ["plasticity.bcm.theta_rate", "0.1"],
        ["plasticity.bcm.target_activity", "0.2"],
    ]
    for name in ("advance_if", "advance_if.metric"):
        assert "null" in explain.why(explain.key_named(name), [one])


def test_an_unknown_key_is_answered_with_the_near_one() -> None:
    with pytest.raises(ConfigError, match=r"'latice\.chanels' \(did you mean lattice\.channels\?"):
        explain.key_named("latice.chanels")


def test_every_key_says_what_it_means_and_which_default_it_has(tables: Tables) -> None:
    table = keys.table()
    assert [name for name, key in table.items() if len(key.meaning) < 5] == []
    files = stage_file.load_folder(stage_file.built_in_folder(), tables.plasticity)
    required = {"stage", *stage_file.LEANED_ON}
    assert all(required <= file.sources.keys() for file in files.values())
    nulls = {name for name, key in table.items() if key.default is None and not key.is_section}
    assert {name for name in nulls if not table[name].may_be_null} == {
        *required,
        "advance_if.metric",
        "advance_if.min",
    }
