"""The JSON Schema agrees with what the reader takes and refuses."""

import contextlib

import jsonschema
import pytest

from cell_train.config import stage_file
from cell_train.config.profiles import Tables
from cell_train.config.reference import explain, json_schema, keys
from cell_train.config.yaml import nodes
from cell_train.errors import ConfigError, Problem, collecting
from tests.config.test_stage_file import OLD
from tests.config.test_wrong_stages import CASES, Case
from tests.conftest import Resolve

BEYOND = {  # what no schema can see: several keys or files at once, and how YAML was written
    "a task that would store nothing",
    "text that is to be stored",
    "a third factor without a loss",
    "an old name beside the new one",
    "exponents where whole numbers belong",
    "a gate by halves",
    "a gate on what no stage of text measures",
    "a draw outside the bounds, upside down",
    "interpolation",
    "two stages in one file",
    "tags and anchors that lead nowhere",
    "too few ticks to cross",
    "a lattice too flat to cross",
    "too few ticks for the dimensions a number stands for",
    "strengths that exclude one another",
    "the same number twice",
    "a stage that shrinks",
    "text that is not there",
}


@pytest.fixture
def validator(tables: Tables) -> jsonschema.Draft7Validator:
    schema = json_schema.make(tables.plasticity)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def values(text: str) -> object:
    """A text as an editor's YAML 1.2 parser sees it; ConfigError where it is none."""
    with collecting() as wrong:
        root = nodes.parse(text, "f.yaml", wrong)
    assert root is not None
    return nodes.plain(root)


def test_stage_files_that_load_are_valid(
    validator: jsonschema.Draft7Validator, resolve_stages: Resolve
) -> None:
    folder = stage_file.built_in_folder()
    texts = [path.read_text() for path in (*folder.glob("*.yaml"), *OLD.glob("*.yaml"))]
    texts += [explain.as_yaml(one, False) for one in resolve_stages("1-6", vram=16)]
    texts += ["stage: 1\ntraining:\n", "stage: 1\ntraining: {mixed_precision: {enabled: true}}\n"]
    assert len(texts) >= 15
    for text in texts:
        assert [error.message for error in validator.iter_errors(values(text))] == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in BEYOND], ids=lambda case: case.name
)
def test_wrong_stage_files_are_not(validator: jsonschema.Draft7Validator, case: Case) -> None:
    for text in case.files.values():
        with contextlib.suppress(ConfigError):  # no YAML, which an editor says without a schema
            assert not validator.is_valid(values(text))


def test_every_key_is_described_and_typed(tables: Tables) -> None:
    schema = json_schema.make(tables.plasticity)
    for name, key in keys.table().items():
        found = schema
        for part in name.split("."):
            found = found["properties"][part]
        assert found["description"] == key.meaning
        assert found["type"]
        if key.rule is not None:
            assert key.rule.schema.items() <= found.items()


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("epochs", [1, 5], [0, 1.5, "3"]),
        ("lattice.dimensions", [[3, 4, 5]], [[0, 4, 5], [3, 4], [3, 4, 5, 6], [3, 4, 5.5]]),
        ("lattice.strength_start", [[0, 1]], [[-1, 1], [1]]),
        ("lattice.connection_density", [None, 1, 0.1], [0, 1.1]),
        ("optimization.sparse_connections.ratio", [0, 0.9], [1, -0.1]),
        ("objective", ["text"], ["words"]),
        ("task", ["text", "my.tasks:Shapes"], ["words", "my.tasks", "1a:B"]),
        ("plasticity_profile", ["freeze"], ["frozen"]),
    ],
)
def test_bounds_are_the_reader_s(
    monkeypatch: pytest.MonkeyPatch,
    validator: jsonschema.Draft7Validator,
    tables: Tables,
    key: str,
    good: list[object],
    bad: list[object],
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "my")
    for fits, given in ((True, good), (False, bad)):
        for value in given:
            tree: object = value
            for part in reversed(key.split(".")):
                tree = {part: tree}
            assert isinstance(tree, dict)
            assert validator.is_valid({"stage": 1, **tree}) is fits, value
            with collecting() as unread:
                root = nodes.parse(nodes.dump({"stage": 1, **tree}), "f", unread)
            assert root is not None
            wrong: list[Problem] = []
            stage_file.sound_tree(root, tables.plasticity, wrong)
            assert (not wrong) is fits, value
