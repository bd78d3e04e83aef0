"""Code that a stage names runs only where the person at the machine has vouched for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cell_train import plugins
from cell_train.config import overrides, resolve
from cell_train.errors import ConfigError
from tests.conftest import MakePlan, Resolve

PLANTED = "from pathlib import Path\nPath('ran').touch()\nclass Own:\n    pass\n"


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, entered, with a module that leaves a trace when it is imported."""
    (tmp_path / "planted_module.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "planted_module", raising=False)
    return tmp_path


def install(folder: Path, group: str, value: str) -> None:
    """What pip leaves of a package that has an entry point."""
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nown = {value}\n")


@pytest.mark.parametrize("key", ["task", "lattice.rule", "plasticity.plasticity_rule"])
def test_a_strangers_stage_file_runs_nothing(
    planted: Path, resolve_stages: Resolve, key: str
) -> None:
    section, _, last = key.rpartition(".")
    written = f"{section}:\n  {last}" if section else last
    (planted / "one.yaml").write_text(f"stage: 1\n{written}: planted_module:Own\n")
    with pytest.raises(
        ConfigError, match=rf"one.yaml:\d.*{key} must be .*that you trust .*'planted"
    ):
        resolve_stages(folder=planted)
    assert not (planted / "ran").exists()


def test_a_strangers_run_folder_runs_nothing(planted: Path, make_plan: MakePlan) -> None:
    from cell_train.planning import plan as planning

    text = resolve.write(planning.resolved_stage(make_plan("1").stages[0]))
    path = planted / "resolved.yaml"
    path.write_text(text.replace("task: text", "task: planted_module:Own"))
    with pytest.raises(
        ConfigError,
        match=r"task must be text, recall, voxels, grow or package\.module:Name from",
    ):
        resolve.read(path)
    with pytest.raises(ConfigError, match=r"task must be package\.module:Name from a package that"):
        plugins.load("task", "planted_module:Own")
    assert not (planted / "ran").exists()


def test_what_the_environment_names_is_imported(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(plugins.TRUST, "another, planted_module")
    assert plugins.load("task", "planted_module:Own").__name__ == "Own"
    assert (planted / "ran").exists()
    assert overrides.read([], {plugins.TRUST: "planted_module"}, []) is not None
    with pytest.raises(ConfigError, match="that you trust"):
        plugins.load("task", "planted_module_too:Own")


def test_what_lies_beside_trusted_code_is_not_trusted_with_it(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planted / "planted_beside.py").write_text("import planted_module\nclass Own:\n    pass\n")
    monkeypatch.setenv(plugins.TRUST, "planted_beside")
    with pytest.raises(ConfigError, match="add it: CELLTRAIN_TRUST=planted_beside,planted_module"):
        plugins.load("task", "planted_beside:Own")
    assert not (planted / "ran").exists()
    monkeypatch.setenv(plugins.TRUST, "planted_beside,planted_module")
    assert plugins.load("task", "planted_beside:Own").__name__ == "Own"


@pytest.mark.parametrize("how", ["-m", "PYTHONPATH"])
def test_nothing_of_the_folder_one_is_in_is_imported(tmp_path: Path, how: str) -> None:
    """Neither by the command line nor by the processes it starts."""
    for name in ("json", "tempfile", "random", "statistics", "rich", "torch", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(9)\n")
    root = Path(plugins.__file__).parents[1]
    start = "import sys; sys.argv = ['celltrain', 'doctor', '--json']; from cell_train import cli"
    words = ["-P", "-c", f"{start}; cli.main()"]
    if how == "-m":
        words = ["-m", "cell_train", "doctor", "--json"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{root}:" if how == "PYTHONPATH" else str(root), "PATH": "/usr/bin"}
        | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "CXX": "/bin/false"},
        capture_output=True,
        text=True,
    )
    assert not (tmp_path / "ran").exists(), done.stderr
    assert json.loads(done.stdout)["worker"]["error"] is None


def test_what_an_installed_package_lists_is_imported_and_nothing_beside_it(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(planted, "celltrain.cell_rules", "planted_module:Own")
    monkeypatch.syspath_prepend(str(planted))
    assert plugins.load("lattice.rule", "planted_module:Own").__name__ == "Own"
    assert not plugins.trusted("lattice.rule", "planted_module:Path")
    assert not plugins.trusted("task", "planted_module:Own")  # it is offered as a rule


@pytest.mark.parametrize("name", ["x", "os", ":x", "os:", "os:path.join", "../os:path", "o s:x"])
def test_what_is_no_name_of_code_is_refused_whatever_is_trusted(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(plugins.TRUST, "os,o s,..,x")
    assert not plugins.trusted("task", name)


@pytest.mark.parametrize("name", ["planted_module:Absent", "planted_absent:Own", "planted_bad:Own"])
def test_trusted_code_that_cannot_be_had_is_one_sentence(
    planted: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (planted / "planted_bad.py").write_text("1 / 0\n")
    monkeypatch.setenv(plugins.TRUST, "planted_module,planted_absent,planted_bad")
    with pytest.raises(ConfigError, match=rf"task: '{name}' cannot be imported \(.*Error") as info:
        plugins.load("task", name)
    assert "\n" not in str(info.value)


def test_the_command_line_refuses_before_anything_starts(planted: Path) -> None:
    root = Path(plugins.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "cell_train", "run", "--stages", "1", "task=planted_module:Own"],
        cwd=planted,
        env={"PYTHONPATH": str(root), "HOME": str(planted), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "from a package that you trust (CELLTRAIN_TRUST=package" in done.stderr
    assert "not 'planted_module:Own'" in done.stderr
    assert not (planted / "ran").exists()
    assert not (planted / "runs").exists()
