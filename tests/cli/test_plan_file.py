"""A plan that is kept, run as it is, and refused when it holds no more."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cell_train.config import resolve, stage_file
from cell_train.errors import BudgetError, ConfigError
from cell_train.hardware import probe
from cell_train.hardware.probe import GIB
from cell_train.planning import plan_file, staleness
from cell_train.planning.plan_file import Record
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.run_folder import folder
from cell_train.run_folder.paths import RunFiles
from tests.cli.test_run import Behave, finish
from tests.support.fake_nvml import Card, FakeNvml
from tests.support.runs import Start, run

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cpu_with_16_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "available_bytes", lambda root=None: 16 * GIB)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Plan as the command line does and keep it."""

    def make(*words: str, start_from: Path | None = None, **options: Any) -> Path:
        request = Request(**{"stages": "1-2", "device": "cpu", "overrides": words, **options})
        loaded = load(request)
        plan = make_plan(resolve_stages(loaded))
        path = tmp_path / "plan.json"
        plan_file.write(path, plan_file.record(plan, loaded.written, start_from))
        return path

    return make


def edit(path: Path, change: Callable[[Record], Any]) -> None:
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))


def test_a_plan_comes_back_as_it_was_made(save: Save) -> None:
    path = save("lattice.channels=6", max_time=4.0)
    plan = make_plan(
        resolve_stages(
            load(Request("1-2", None, ("lattice.channels=6",), device="cpu", max_time=4.0))
        )
    )
    record, stages = staleness.load_current(path)
    assert stages == plan.resolved()
    assert record["stages"][1]["thinned"] == plan.stages[1].thinned
    assert stages[1].execution.samples_per_epoch < 1000


def test_a_plan_runs_exactly_and_its_folder_holds_the_same_plan(save: Save, tmp_path: Path) -> None:
    path = save("batch_size=8")
    record, stages = staleness.load_current(path)
    files = folder.prepare(record, stages, tmp_path / "runs", "test")
    outcome, _ = run(files)
    assert outcome.exit_code == 0
    assert folder.read_plan(files) == json.loads(path.read_text())
    first = resolve.read(files.stage(1).resolved)
    assert first == stages[0]
    assert first.stage.batch_size == 8
    assert plan_file.read(files.plan) == record  # and could be run again: one format


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.update(version="0.0.9"), "celltrain is version .*, not 0.0.9"),
        (lambda p: p.update(code_sha256="0"), "celltrain's code is another"),
        (lambda p: p["stages"][0].update(data_sha256="0"), "builtin: other data than was planned"),
        (
            lambda p: p["stages"][1]["file"]["values"].update(epochs=99),
            r"stage2\.yaml: epochs 99 -> 5\. Plan again",
        ),
        (lambda p: p["stages"][1]["file"].update(path="/nowhere/s.yaml"), "s.yaml: is gone"),
        (lambda p: p.update({"from": "/nowhere/step.pt"}), "step.pt: is gone"),
    ],
)
def test_what_has_drifted_is_named(save: Save, change: Callable[[Record], Any], says: str) -> None:
    path = save()
    edit(path, change)
    with pytest.raises(ConfigError, match=says):
        staleness.load_current(path)


def test_edited_stage_files_data_and_checkpoints_are_all_named(save: Save, tmp_path: Path) -> None:
    own, data, start = tmp_path / "own", tmp_path / "data.txt", tmp_path / "step-1.pt"
    own.mkdir()
    for name in ("stage1.yaml", "stage2.yaml"):
        shutil.copy(stage_file.built_in_folder() / name, own / name)
    data.write_text("a b\n" * 99)
    start.write_bytes(b"state")
    path = save(f"data.path={data}", stages_dir=own, start_from=start)
    stage = own / "stage2.yaml"
    stage.write_text("# a remark changes nothing\n" + stage.read_text())
    staleness.load_current(path)
    stage.write_text(stage.read_text().replace("epochs: 5", "epochs: 6"))
    data.write_text("c d\n" * 99)
    start.write_bytes(b"other")
    with pytest.raises(ConfigError) as caught:
        staleness.load_current(path)
    assert f"{stage}: epochs 5 -> 6" in str(caught.value)
    assert str(caught.value).count(f"{data}: other data") == 1  # of two stages
    assert f"{start}: another checkpoint" in str(caught.value)


def test_less_memory_than_a_stage_needs_is_refused(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save()
    peaks = [one["predicted_peak_bytes"] for one in json.loads(path.read_text())["stages"]]
    monkeypatch.setattr(probe, "available_bytes", lambda root=None: max(peaks))
    staleness.load_current(path)  # the headroom is there to be used
    monkeypatch.setattr(probe, "available_bytes", lambda root=None: max(peaks) - 1)
    with pytest.raises(BudgetError, match=r"stage 2 needs .* GiB, and where 16\.00 GiB"):
        staleness.load_current(path)


def test_a_gpu_is_found_again_by_its_uuid(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(device="auto", vram=8.0)
    nvml = FakeNvml(Card("GPU-aaaa", 30 * GIB), Card("GPU-bbbb", 9 * GIB))
    real = probe.probe
    monkeypatch.setattr(probe, "probe", lambda device: real(device, {}, nvml))
    _, stages = staleness.load_current(path)  # only described: the one with most free memory
    assert {one.execution.device for one in stages} == {"cuda:GPU-aaaa"}

    def at(uuid: str) -> Callable[[Record], None]:
        def change(plan: Record) -> None:
            for one in plan["stages"]:
                one["resolved"]["execution"]["device"] = f"cuda:{uuid}"

        return change

    edit(path, at("GPU-bbbb"))
    assert staleness.load_current(path)[1][0].execution.device == "cuda:GPU-bbbb"
    edit(path, at("GPU-cccc"))
    with pytest.raises(ConfigError, match="is for another device"):
        staleness.load_current(path)
    old = FakeNvml(Card("GPU-cccc", 30 * GIB, capability=(7, 5)))
    monkeypatch.setattr(probe, "probe", lambda device: real(device, {}, old))
    with pytest.raises(ConfigError, match="plans with bf16, which NVML: NVIDIA H100 has not"):
        staleness.load_current(path)


def stage_of(plan: Record) -> Any:
    return plan["stages"][0]["resolved"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["stages"][0].pop("resolved"), r"stages\[0\]\.resolved: is not a resolved"),
        (lambda p: stage_of(p)["stage"].update(epochs="x"), r"resolved: epochs must be a whole"),
        (lambda p: stage_of(p)["stage"].update(epochs=10**4000), "epochs must be a whole number"),
        (lambda p: stage_of(p)["stage"].update(latice=3), r"resolved: unknown key 'latice'"),
        (lambda p: stage_of(p)["stage"].update(lattice=None), "its section 'lattice' is empty"),
        (lambda p: stage_of(p)["stage"].update(stage=3), "is stage 3, not 1"),
        (lambda p: stage_of(p)["execution"].update(micro_batch=5), "micro_batch x accumulation"),
        (lambda p: stage_of(p)["execution"].update(device="tpu"), "--device tpu: is unknown"),
        (lambda p: stage_of(p).update(sources=[1]), "sources must say for each key"),
        (lambda p: p["stages"][0].update(file={"path": 3}), r"stages\[0\]\.file is \{'path': 3\}"),
        (lambda p: p["stages"][0].update(stage=0), r"stages\[0\]\.stage is 0"),
        (lambda p: p.update(stages=[]), "stages is"),
    ],
)
def test_a_plan_from_a_stranger_is_checked(
    save: Save, change: Callable[[Record], Any], says: str
) -> None:
    path = save()
    edit(path, change)
    with pytest.raises(ConfigError, match=says) as caught:
        staleness.load_current(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"stages": [\n 1,,]}', r"plan\.json:2:4: is damaged or no plan"),
        ("[1]", "is damaged or no plan"),
        ("[" * 100_000, "is damaged or no plan"),
        ("9" * 5000, "is damaged or no plan"),
        (" " * ((16 << 20) + 1), "is larger than 16 MiB"),
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=says):
        staleness.load_current(path)


def test_a_plan_makes_nothing_read_what_has_no_end(save: Save, tmp_path: Path) -> None:
    path, pipe = save(), tmp_path / "pipe"
    os.mkfifo(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    edit(path, lambda p: stage_of(p)["stage"]["data"].update(path="/dev/zero"))
    edit(path, lambda p: p["stages"][0]["file"].update(path=str(pipe)))
    with pytest.raises(ConfigError, match="pipe: is gone"):
        staleness.load_current(path)


def test_run_plan_on_the_command_line(start: Start, tmp_path: Path) -> None:
    words = ("--stages", "1-2", "epochs=2", "--max-time", "1h")
    code, out, err = finish(start("plan", *words, "-o", "plan.json"))
    assert (code, err) == (0, "")
    assert "changed, from what the stage asks:" in out
    code, _, err = finish(start("run", "--plan", "plan.json", "--require", "bleu>=0.9", "--quiet"))
    assert code == 1  # the gate is this run's own
    assert "bleu>=0.9 is required" in err
    (run_folder,) = (tmp_path / "runs").iterdir()
    plan = folder.read_plan(RunFiles(run_folder))
    assert plan["require"] == ["bleu>=0.9"]
    assert [stage["epochs"] for stage in plan["stages"]] == [2, 2]


def test_what_does_not_fit_is_not_written(start: Start, tmp_path: Path) -> None:
    code, _, err = finish(start("plan", "--vram", "0.5", "-o", "plan.json"))
    assert code == 3
    assert "stages 1, 2, 3, 4, 5 do not fit: stage" in err
    assert not (tmp_path / "plan.json").exists()


def test_what_was_done_is_told_from_what_is_pending(
    save: Save, tmp_path: Path, behave: Behave
) -> None:
    runs = tmp_path / "runs"

    def done(*words: str, **options: Any) -> bool:
        return folder.is_done(plan_file.read(save(*words, **options)), runs)

    assert not done()  # and stage 2 needs no checkpoint that stage 1 is still to make
    behave({2: "exit"})
    files = folder.prepare(*staleness.load_current(save()), runs, "test")
    run(files)
    assert not done()
    behave({})
    run(files)
    assert done()
    assert done(threads=2)  # how it is run is not what it gives
    for other in (done("seed=1"), done(stages="1"), done(max_time=3.0), done(profile="fit")):
        assert not other
    assert not done(start_from=next(files.stage(1).checkpoints.glob("*.pt")))
    files.plan.write_text('{"stages": [3, {"resolved": 1}]}')
    assert not done()


def test_pending_work_is_10_and_done_work_is_0(start: Start, tmp_path: Path) -> None:
    gate = ("plan", "--stages", "1", "--detailed-exitcode")
    assert finish(start(*gate))[0] == 10
    finish(start("run", "--stages", "1", "--quiet"))
    assert finish(start(*gate))[0] == 0
    assert finish(start(*gate, "--output", "elsewhere"))[0] == 10
    assert finish(start(*gate, "--vram", "0.5"))[0] == 3
