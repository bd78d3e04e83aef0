"""A run's controls: trained beside it, counted with it, and never in its way."""

from cell_train.config import resolve
from cell_train.run_folder.paths import RunFiles
from tests.runner.test_execute import Behave, lines, saved
from tests.support.runs import Prepare, run


def control(files: RunFiles, name: str) -> RunFiles:
    return RunFiles(files.folder / "controls" / name)


def test_each_stage_is_trained_again_as_each_control(prepare: Prepare) -> None:
    files = prepare("1-2", words=["monitor.controls=true"])
    outcome, shown = run(files)
    assert outcome.exit_code == 0
    for row in outcome.summary["stages"]:
        assert row["metrics"]["bypass_bleu"] == row["metrics"]["frozen_bleu"] == row["stage"] / 10
    assert saved(files) == outcome.summary
    for name in ("bypass", "frozen"):
        first, second = (resolve.read(control(files, name).stage(n).resolved) for n in (1, 2))
        assert first.stage.monitor.control == second.stage.monitor.control == name
        assert not second.stage.monitor.controls
        assert first.start_from is None
        assert str(second.start_from).startswith(str(control(files, name).stage(1).folder))
    main = resolve.read(files.stage(2).resolved)
    assert main.start_from == outcome.summary["stages"][0]["checkpoint"]
    assert [e["stage"] for e in shown if e["event"] == "stage_start"] == [1, 2]


def test_without_being_asked_for_none_is_trained(prepare: Prepare) -> None:
    files = prepare("1")
    outcome, _ = run(files)
    assert "bypass_bleu" not in outcome.summary["stages"][0]["metrics"]
    assert not (files.folder / "controls").exists()


def test_a_resumed_run_keeps_the_controls_it_has(prepare: Prepare) -> None:
    files = prepare("1", words=["monitor.controls=true"])
    before, _ = run(files)
    log = control(files, "bypass").stage(1).log.read_text()
    control(files, "frozen").stage(1).result.unlink()
    after, _ = run(files)
    assert after.summary["stages"][0]["metrics"] == before.summary["stages"][0]["metrics"]
    assert control(files, "bypass").stage(1).log.read_text() == log
    assert control(files, "frozen").stage(1).log.read_text().count("fake worker") == 2


def test_a_control_that_fails_is_missing_and_told(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1", words=["monitor.controls=true"])
    run(files)
    for name in ("bypass", "frozen"):
        control(files, name).stage(1).result.unlink()
        for path in control(files, name).stage(1).checkpoints.iterdir():
            path.unlink()
    behave({1: "fail"})
    outcome, _ = run(files)
    assert outcome.exit_code == 0
    assert "bypass_bleu" not in outcome.summary["stages"][0]["metrics"]
    said = [e["message"] for e in lines(files.events) if e.get("level") == "warning"]
    assert any("control bypass could not be trained" in message for message in said)
