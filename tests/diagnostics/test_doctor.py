"""What `celltrain doctor` finds, and what it makes of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cell_train.diagnostics import doctor
from cell_train.runner import crash_report
from tests.support.runs import Prepare, Start, run

Behave = Callable[[dict[int, str]], None]

SOUND: dict[str, Any] = {
    "refusal": None,
    "packages": {"pynvml": None},
    "gpus": {"devices": [], "driver": None, "why_none": "no GPU"},
    "worker": {
        "error": None,
        "torch": "2.13.0",
        "cuda_build": "12.8",
        "cuda_available": True,
        "compiler": "/usr/bin/g++",
        "kernels": [{"name": "compiled C++", "reason": "a C++ compiler is here"}],
    },
    "output": {"path": "/runs", "writable": True, "free_bytes": 1 << 40},
    "cache": {"path": "/cache", "writable": True},
    "temporary": {"path": "/tmp", "writable": True, "free_bytes": 1 << 40},
    "limits": {"files": 1024, "file_bytes": None, "processes_left": None},
    "needs_disk_bytes": 100 << 20,
    "checkpoint_bytes": 20 << 20,
    "cores": 4,
    "cores_allowed": 4.0,
    "load": 1.2,
    "variables": {},
}
GPU = {"devices": [{"name": "NVIDIA L4"}], "driver": "470.1", "why_none": None}
PLAIN = [{"name": "plain torch", "reason": "no C++ compiler found (g++ or clang++)"}]


def test_a_sound_machine_has_no_problem() -> None:
    assert list(doctor.problems(SOUND)) == []
    assert list(doctor.problems(SOUND | {"load": None})) == []  # nobody counts
    assert list(doctor.problems(SOUND | {"load": 9.0, "cores_allowed": 1.0})) == []  # none less
    with_gpu = SOUND | {"gpus": GPU, "variables": {"OMP_NUM_THREADS": "4"}}
    assert list(doctor.problems(with_gpu)) == []


@pytest.mark.parametrize(
    ("wrong", "what", "cure", "prevents"),
    [
        ({"packages": {"pynvml": "12"}}, "deprecated package pynvml", "uninstall pynvml", False),
        (
            {"worker": {"kernels": PLAIN, "compiler": None}},
            "in plain torch, 12 to 20 times slower: no C++ compiler found",
            "set CXX to another",
            False,
        ),
        ({"cache": {"writable": False}}, "/cache: compiled steps", "XDG_CACHE_HOME", False),
        ({"output": {"writable": False}}, "/runs: run folders cannot", "--output", True),
        ({"output": {"free_bytes": 1 << 30}}, "/runs: 1024 MiB free", "make room", False),
        ({"output": {"free_bytes": 50 << 20}}, "/runs: 50 MiB free", "take 100 MiB", True),
        (
            {"gpus": GPU, "worker": {"cuda_build": None, "torch": "2.13.0+cpu"}},
            "NVML shows NVIDIA L4, but torch 2.13.0+cpu is for CPUs",
            "--device cpu",
            True,
        ),
        (
            {"gpus": GPU, "worker": {"cuda_available": False}},
            "CUDA 12.8 cannot use the GPU of driver 470.1",
            "update the driver",
            True,
        ),
        ({"worker": {"error": "killed by SIGILL"}}, "killed by SIGILL", "reinstall", True),
        ({"variables": {"OMP_NUM_THREADS": "many"}}, "OMP_NUM_THREADS=many", "unset it", False),
        ({"variables": {"OMP_NUM_THREADS": "64"}}, "=64, on 4 cores", "--threads", False),
        ({"load": 13.4}, "13.4 threads want its cores, a run may use 4", "--threads 2", False),
        ({"load": 2.0, "cores_allowed": 1.5}, "may use 1.5", "--threads 1", False),
        ({"cache": {"writable": False, "why": "no home"}}, "(no home)", "XDG_CACHE_HOME", False),
        ({"temporary": {"free_bytes": 4096}}, "/tmp: the temporary folder", "TMPDIR", False),
        ({"temporary": {"writable": False, "why": "missing"}}, "(missing)", "TMPDIR", False),
        ({"output": {"lacks": {"renaming": True}}}, "has no renaming", "--output", True),
        ({"limits": {"file_bytes": 1 << 20}}, "grow to 1 MiB", "ulimit -f", True),
        ({"limits": {"files": 40}}, "40 files", "ulimit -n", False),
        ({"limits": {"processes_left": 3}}, "3 more processes", "ulimit -u", False),
        ({"refusal": "unknown key 'foo'"}, "unknown key 'foo'", "correct", True),
    ],
)
def test_each_problem_comes_with_its_cure(
    wrong: dict[str, Any], what: str, cure: str, prevents: bool
) -> None:
    facts = {
        key: value | wrong[key]
        if isinstance(value, dict) and key in wrong
        else wrong.get(key, value)
        for key, value in SOUND.items()
    }
    (problem,) = doctor.problems(facts)
    assert what in problem.what
    assert cure in problem.cure
    assert problem.prevents == prevents


def test_the_command_tells_people_and_programs_the_same(start: Start, tmp_path: Path) -> None:
    process = start("doctor", "--json")
    out, err = process.communicate(timeout=300)
    facts = json.loads(out)
    assert process.returncode == any(p["prevents"] for p in facts["problems"]), err
    assert facts["worker"]["torch"] == facts["packages"]["torch"]
    assert facts["worker"]["kernels"][0]["name"]
    assert facts["output"]["path"] == str(tmp_path / "runs")
    assert not list(tmp_path.iterdir())  # it leaves nothing behind


def test_a_variable_that_is_no_key_keeps_a_run_from_starting(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_LATICE__CHANNELS", "3")
    process = start("doctor")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "✗ environment variable CELLTRAIN_LATICE__CHANNELS: unknown key" in out
    assert "did you mean lattice" in out
    assert out.splitlines()[-1] == "1 of these must be cured first."


@pytest.mark.parametrize(
    ("torch", "says"),
    [
        ("import os, time; print(os.getpid()); time.sleep(60)", "did not answer within 5 s"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12"),
    ],
    ids=["hangs", "crashes", "raises"],
)
def test_a_torch_that_cannot_be_loaded_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, says: str
) -> None:
    (tmp_path / "torch.py").write_text(torch)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    assert says in doctor.ask_worker(None, limit=5)["error"]
    assert psutil.Process().children() == []


def test_the_crash_capsule_holds_what_doctor_says(
    prepare: Prepare, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_report, "DOCTOR_LIMIT", 120)
    behave({1: "fail"})
    files = prepare("1")
    assert run(files)[0].exit_code == 1
    facts = json.loads((files.crash / "doctor.json").read_text())
    assert facts["worker"]["torch"]
    assert facts["output"]["path"] == str(files.folder)


def test_a_doctor_that_hangs_delays_no_failure(prepare: Prepare, behave: Behave) -> None:
    behave({1: "fail"})
    files = prepare("1")
    run(files)  # with no time for it
    assert "took longer than 0 s" in (files.crash / "doctor.json").read_text()
    assert json.loads((files.crash / "report.json").read_text())["kind"] == "numbers"
