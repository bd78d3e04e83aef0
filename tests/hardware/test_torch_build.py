"""What is known of torch without loading it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cell_train.errors import ConfigError
from cell_train.hardware import torch_build
from cell_train.hardware.probe import Budget
from cell_train.hardware.torch_build import Build

GPU = Budget("cuda", "cuda:GPU-1", 8.0, 8 << 30, "NVML: GeForce")
CPU = Budget("cpu", "cpu", None, 8 << 30, "CPU memory")


def test_the_installed_torch_says_what_its_files_say() -> None:
    import torch

    assert torch_build.find() == Build(torch.__version__, torch.version.cuda or "")


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("__version__ = '2.9+cu128'\ncuda: Optional[str] = '12.8'\n", Build("2.9+cu128", "12.8")),
        ("__version__ = '2.9+cpu'\ncuda = None\n", Build("2.9+cpu", "")),
        ("__version__ = '2.9'\ncuda = None\nhip = '6.1'\n", Build("2.9", None)),
        ("__version__ = '2.9'\n", Build("2.9", None)),
        ("this is no Python", Build(None, None)),
    ],
)
def test_a_file_that_does_not_say_leaves_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, build: Build
) -> None:
    (tmp_path / "version.py").write_text(text)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    assert torch_build.find() == build


def test_what_no_worker_could_do_is_refused_before() -> None:
    torch_build.require(CPU, Build("2.9", ""))
    torch_build.require(GPU, Build("2.9", "12.8"))
    torch_build.require(GPU, Build("2.9", None))  # not known: it is tried
    with pytest.raises(ConfigError, match=r"shows GeForce, but torch 2.9 is for CPUs; install a"):
        torch_build.require(GPU, Build("2.9", ""))
    with pytest.raises(ConfigError, match="torch is not installed"):
        torch_build.require(CPU, None)
