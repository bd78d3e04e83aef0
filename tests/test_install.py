"""What the Makefile installs: the Python it takes, the lock, and what is in the wheel."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from cell_train import __version__

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "make_venv.sh"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INFO = f"celltrain-{__version__}.dist-info"
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def machine(folder: Path, **programs: str) -> Path:
    """A folder for PATH with `sed` and these programs: a version, or a shell script's text."""
    folder.mkdir()
    (folder / "sed").symlink_to(str(shutil.which("sed")))
    for name, text in programs.items():
        path = folder / name.replace("_", ".")
        if re.fullmatch(r"[\d.]+", text):  # a Python that only says what it is
            major, minor = text.split(".")
            old = (int(major), int(minor)) < (3, 11)
            text = f'case "$2" in *print*) echo {text};; *version_info*) exit {int(old)};; esac'
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return folder


def make_venv(path: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), str(target)],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_machine_whose_only_python_is_called_python3(tmp_path: Path) -> None:
    real = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    quick = (
        f'[ "$2" != venv ] || {{ shift 2; set -- -m venv --without-pip "$@"; }}\nexec {real} "$@"'
    )
    done = make_venv(machine(tmp_path / "bin", python3=quick), tmp_path / "venv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/venv: Python {real.name[6:]} (python3)\n"
    made = [f"{tmp_path}/venv/bin/python", "-c", "import sys; print(sys.prefix)"]
    assert subprocess.check_output(made, text=True) == f"{tmp_path}/venv\n"


def test_names_that_stand_for_no_python_or_an_old_one_are_passed_over(tmp_path: Path) -> None:
    took = 'case "$2" in *print*) echo 3.14;; -*) ;; venv) echo "$0" "$@";; esac'
    path = machine(
        tmp_path / "bin",
        python3_11="echo pyenv: python3.11 is not here >&2; exit 127",
        python3_12="3.10",
        python3_14=took,
        python3="3.12",
    )
    done = make_venv(path, tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{path}/python3.14 -m venv --clear {tmp_path}/venv"


def test_no_python_that_will_do_is_one_sentence(tmp_path: Path) -> None:
    path = machine(tmp_path / "bin", python3="3.9", python="2.7")
    done = make_venv(path, tmp_path / "venv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("celltrain needs Python 3.11 or newer, and there is none called")
    assert "(python3 is 3.9, python is 2.7)" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    done = make_venv(path, tmp_path / "venv", PYTHON="python3.8")
    assert "there is none called python3.8;" in done.stderr


def test_debians_python_without_venv_is_one_sentence(tmp_path: Path) -> None:
    bare = 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.13;; esac'
    done = make_venv(machine(tmp_path / "bin", python3=bare), tmp_path / "venv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "python3 (3.13) lacks its venv module; on Debian and Ubuntu install it with:"
        " apt-get install python3.13-venv.\n"
    )
    assert not (tmp_path / "venv").exists()


def locked(name: str) -> dict[str, set[str]]:
    """Versions of each package in a lock file: several where Pythons differ."""
    found: dict[str, set[str]] = {}
    for package, version in PINNED.findall((ROOT / "lock" / f"{name}.txt").read_text()):
        found.setdefault(package, set()).add(version)
    return found


def test_the_lock_has_hashes_and_neither_torch_nor_its_cuda_libraries() -> None:
    run, test = locked("run"), locked("test")
    for name in ("run", "test"):
        text = (ROOT / "lock" / f"{name}.txt").read_text()
        for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
            assert "--hash=sha256:" in entry, entry
    assert not [name for name in test if name == "torch" or name.startswith(("nvidia-c", "cuda-"))]
    assert "triton" not in run  # torch's CUDA builds bring theirs
    assert {name: test[name] for name in run} == run


def test_the_lock_covers_what_celltrain_and_torch_ask_for() -> None:
    project = PYPROJECT["project"]
    asked = [*project["dependencies"], *PYPROJECT["dependency-groups"]["build"]]
    names = {re.split(r"[^\w-]", one)[0].lower() for one in asked} - {"torch"}
    assert names <= set(locked("run"))
    names |= {
        re.split(r"[^\w-]", one)[0].lower() for one in project["optional-dependencies"]["dev"]
    }
    assert names <= set(locked("test"))
    (torch,) = PYPROJECT["tool"]["uv"]["dependency-metadata"]
    if metadata.version("torch").split("+")[0] == torch["version"]:
        needs = {
            one.split("; extra")[0]
            for one in metadata.requires("torch") or ()
            if "extra" not in one
        }
        assert needs <= set(torch["requires-dist"])


def test_one_version_of_torch_is_what_is_installed_by_default() -> None:
    (torch,) = PYPROJECT["tool"]["uv"]["dependency-metadata"]
    files = [ROOT / "Makefile", *sorted(ROOT.glob("Dockerfile*"))]
    assert len(files) == 3
    for file in files:
        assert re.findall(r"torch==([\d.]+)$", file.read_text(), re.MULTILINE) == [torch["version"]]


def build(source: Path, kind: str, target: Path) -> Path:
    """Build `kind` (wheel or sdist) of a source tree with the hatchling that is installed."""
    target.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = target.iterdir()
    return built


def test_wheel_and_sdist_carry_all_that_a_run_needs(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the lock has it")
    wheel = build(ROOT, "wheel", tmp_path / "wheel")
    names = set(zipfile.ZipFile(wheel).namelist())
    kinds = {".cpp", ".css", ".html", ".js", ".py", ".typed", ".yaml"}
    package = {p for p in (ROOT / "cell_train").rglob("*") if p.suffix in kinds}
    data = {str(path.relative_to(ROOT)) for path in package}
    for folder in ("stages", "recipes", "examples"):
        files = (path for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc")
        data |= {f"cell_train/{path.relative_to(ROOT)}" for path in files}
    assert "cell_train/stages/stage5.yaml" in data
    assert data <= names
    assert not [name for name in names if name.split("/")[0] not in ("cell_train", INFO)]

    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.glob("celltrain-*")
    again = build(unpacked, "wheel", tmp_path / "again")
    assert set(zipfile.ZipFile(again).namelist()) == names
    assert (unpacked / "lock/test.txt").exists()

    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    command = [sys.executable, "-m", "cell_train", "plan", "--stages-dir", "recipes/recall"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "yes" in done.stdout
