"""Errors of all files, profiles, environment and command line, wherever a value is written."""

from pathlib import Path

import pytest

from cell_train.config import overrides, validation
from cell_train.config.profiles import Tables
from cell_train.errors import ConfigError, Problem

RECIPES = Path(__file__).parents[2] / "recipes"


def check(folder: Path, own: Path | None = None, **environment: str) -> list[Problem]:
    return validation.check(sorted(folder.glob("*.yaml")), own, environment)


@pytest.mark.parametrize(
    ("key", "text", "fix"),
    [
        ("clustering_enabled", "on", "write true"),
        ("clustering_enabled", "No", "write false"),
        ("epochs", "012", "write 12"),
        ("epochs", "1e3", "write 1000"),
        ("epochs", "1_000", "write 1000"),
        ("epochs", "1:30", ""),
        ("training.learning_rate", "0,05", "write 0.05"),
        ("lattice.dimensions", "8x8x8", "write [8, 8, 8]"),
        ("objective", "txt", "did you mean text?"),
    ],
)
def test_a_surprise_is_the_same_in_files_overrides_and_environment(
    tmp_path: Path, tables: Tables, key: str, text: str, fix: str
) -> None:
    indent = "".join(f"{part}: {{" for part in key.split(".")[:-1])
    line = f"{indent}{key.rpartition('.')[2]}: {text}{'}' * indent.count('{')}"
    if "," in text:  # which ends an entry within braces
        line = f"training:\n  learning_rate: {text}"
    (tmp_path / "a.yaml").write_text(f"stage: 1\n{line}\n")
    (written,) = check(tmp_path)
    variable = f"CELLTRAIN_{key.upper().replace('.', '__')}"
    (set_outside,) = validation.check([], None, {variable: text})
    with pytest.raises(ConfigError) as caught:
        overrides.read([f"{key}={text}"], {}, tables.plasticity)
    (word,) = caught.value.problems
    assert written.fix == set_outside.fix == word.fix == fix
    assert written.message == set_outside.message == word.message
    assert word.place.text[word.place.column - 1 :] == text


def test_small_exponents_are_numbers_everywhere(tmp_path: Path, tables: Tables) -> None:
    (tmp_path / "a.yaml").write_text("stage: 1\ntraining: {learning_rate: 1e-5}\n")
    assert check(tmp_path, CELLTRAIN_TRAINING__WEIGHT_DECAY="1e-5") == []
    (layer, _) = overrides.read([], {"CELLTRAIN_SEED": "3", "CELLTRAIN_DATA__PATH": "~"}, {})
    assert layer.values == {"seed": 3, "data": {"path": "~"}}


def test_a_third_factor_needs_a_rule_that_the_kernels_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "tests")
    own = "lattice: {rule: tests.toy:Rule}\nplasticity: {three_factor: {rate: 0.2}}"
    (tmp_path / "a.yaml").write_text(f"stage: 1\n{own}\n")
    (problem,) = check(tmp_path)
    assert (problem.place.line, problem.key) == (3, "plasticity.three_factor.rate")
    assert "lattice.rule tests.toy:Rule is not celltrain's own" in problem.message
    (tmp_path / "a.yaml").write_text("stage: 1\nplasticity: {three_factor: {rate: 0.2}}\n")
    assert check(tmp_path) == []


def test_a_cap_that_leaves_too_small_a_lattice(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stage: 1\nplasticity_profile: mine\nepochs: 0\n")
    own = tmp_path / "profiles.txt"
    own.write_text("memory:\n  8gb:\n    max_dimensions: [16, 16, 2]\n")
    found = check(tmp_path, own)
    assert [(one.place.line, one.key) for one in found] == [(3, "max_dimensions"), (3, "epochs")]
    assert "at least 3" in found[0].message


def test_a_wrong_profile_and_environment_do_not_hide_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stage: 1\nepoch: 3\n")
    found = check(tmp_path, tmp_path / "absent", CELLTRAIN_SEED="-1")
    assert [one.place.name.rpartition("/")[2] for one in found] == [
        *("absent", "environment variable CELLTRAIN_SEED", "a.yaml")
    ]


def test_an_optional_stage_may_be_small(tmp_path: Path) -> None:
    for number, size, more in ((1, 16, ""), (2, 8, "optional: true"), (3, 24, "")):
        text = f"stage: {number}\nlattice: {{dimensions: [{size}, {size}, {size}]}}\n{more}\n"
        (tmp_path / f"{number}.yaml").write_text(text)
    assert check(tmp_path) == []


def test_a_file_beside_the_one_that_is_not_there_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("a dog runs\n")
    (tmp_path / "a.yaml").write_text(f"stage: 1\ndata: {{path: {tmp_path}/caption.txt}}\n")
    (problem,) = check(tmp_path)
    assert problem.fix == f"did you mean {tmp_path}/captions.txt?"
    assert (problem.place.line, problem.place.column) == (2, 14)


@pytest.mark.parametrize("path", ["~nobody-here/x.txt", '"a\\0b/x.txt"', "/proc/self/mem/x.txt"])
def test_a_path_that_leads_nowhere_is_one_problem(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.yaml").write_text(f"stage: 1\ndata: {{path: {path}}}\n")
    (problem,) = check(tmp_path)
    assert (problem.key, problem.place.line) == ("data.path", 2)


def test_files_that_cannot_be_read_do_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "b.yaml").write_bytes(b"stage: 1\ndescription: caf\xe9\n")
    (tmp_path / "c.yaml").write_text("stage: 2\nepoch: 3\n")
    (tmp_path / "d.yaml").symlink_to(tmp_path / "absent")
    found = check(tmp_path)
    said = [(Path(one.place.name).name, one.place.line, one.message) for one in found]
    assert said == [
        ("a.yaml", 0, "cannot be read (is no plain file)"),
        ("b.yaml", 2, "byte 0xe9 is not UTF-8"),
        ("c.yaml", 2, "unknown key 'epoch'"),
        ("d.yaml", 0, "cannot be read (No such file or directory)"),
    ]


def test_profiles_are_read_as_stage_files_are(tmp_path: Path) -> None:
    own = tmp_path / "profiles.yml"
    own.write_text("memory:\n  8gb: {mixed_precision: on, batch_size_limit: 08}\ncpu: {scal: 1}\n")
    found = check(tmp_path, own)
    assert [one.fix for one in found] == ["write true", "write 8", "did you mean scale?"]


@pytest.mark.parametrize("recipe", sorted(RECIPES.iterdir()), ids=lambda path: path.name)
def test_a_recipe_lacks_nothing_but_its_text(recipe: Path) -> None:
    wrong = [problem.message for problem in check(recipe)]
    assert [message for message in wrong if not message.endswith("is not there")] == []
