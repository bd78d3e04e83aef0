"""What docs/api.md lists is there, and nothing else is public."""

import importlib
import inspect
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cell_train
from cell_train import api
from cell_train.errors import ConfigError
from cell_train.run_folder import folder, identity
from cell_train.run_folder.paths import RunFiles
from cell_train.training.trained_model import TrainedModel

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
ROOMS = ("model", "plasticity", "analysis", "tasks")


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the first table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)", row)}


def test_the_page_lists_what_import_offers() -> None:
    listed = first_cells("`cell_train`")
    assert listed == {*cell_train.__all__} | {*api.Choices.__annotations__}
    assert dir(cell_train) == sorted(cell_train.__all__)
    for name in cell_train.__all__:
        assert getattr(cell_train, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cell_train.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["plan", "run", "load"])
def test_signatures_are_those_on_the_page(name: str) -> None:
    told = re.search(rf"`{name}\((.*?)\)`", PAGE)
    assert told is not None
    shown = [part.split("=")[0].strip() for part in told[1].split(",")]
    real = inspect.signature(getattr(cell_train, name)).parameters
    assert [part.lstrip("*") for part in shown if part != "*"] == list(real)


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_each_room_can_be_imported_from_it(room: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `cell_train.{room}` |"))
    listed = set(re.findall(r"`(\w+)`", row.split("|")[2]))
    module = importlib.import_module(f"cell_train.{room}")
    assert listed == set(module.__all__)
    assert all(hasattr(module, name) for name in listed)


def test_a_trained_model_has_what_the_page_lists() -> None:
    public = {name for name in dir(TrainedModel) if not name.startswith("_")}
    assert first_cells("`TrainedModel`") == public | set(TrainedModel.__dataclass_fields__)


def test_a_plan_and_the_way_to_a_run_need_no_torch() -> None:
    code = (
        "import sys, cell_train\n"
        "plan = cell_train.plan('1', overrides={'lattice.dimensions': [4, 4, 4], 'epochs': 1})\n"
        "assert plan.fits and plan.stages[0].stage.lattice.dimensions == [4, 4, 4]\n"
        "cell_train.run, cell_train.load\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_what_is_asked_for_wrongly_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lattice\.channles"):
        cell_train.plan("1", overrides={"lattice.channles": 8})
    with pytest.raises(TypeError, match="no choice 'vrm'"):
        cell_train.plan("1", vrm=8)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="absent"):
        cell_train.load("absent", output=tmp_path)


def test_a_run_is_found_by_its_name_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "read_plan", lambda _: {})
    names = ("20260101T000000Z-test", "20260102T000000Z-test", "20260103T000000Z-other")
    for when, name in enumerate(names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("{}")
        identity.mark(RunFiles(tmp_path / name), name[17:], datetime(2026, 1, 1 + when, tzinfo=UTC))
    assert api._found("test", tmp_path) == tmp_path / names[1]
    assert api._found(names[0], tmp_path) == tmp_path / names[0]
    assert api._found(tmp_path / names[0], Path("runs")) == tmp_path / names[0]
