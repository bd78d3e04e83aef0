"""The command line as a user meets it: exit codes, streams, one sentence for an error."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cell_train._version import __version__
from tests.support.runs import Start

Behave = Callable[[dict[int, str]], None]


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def write_stage(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("run --stages 1 latice.channels=3", 2, "did you mean lattice"),
        ("run --stages 1 epochs=many", 2, "epochs must be a whole number, not 'many'"),
        ("run --stages 1 epochs=-1", 2, "epochs must be at least 1, not -1"),
        ("run --stages 1 plasticity_profile=wild", 2, "plasticity_profile 'wild' is unknown"),
        ("run --stages 4-9", 2, "stage 7 of '4-9' is not there"),
        ("run --stages 1,x", 2, "'x' is no stage or range"),
        ("run --profile 7gb", 2, "memory profile '7gb' is unknown"),
        ("run --device tpu", 2, "--device tpu: is unknown"),
        ("run --require bleu", 2, "--require 'bleu': write METRIC>=NUMBER"),
        ("run --name ../x", 2, "--name '../x'"),
        ("run --from nowhere.pt", 2, "--from nowhere.pt: is no checkpoint file"),
        ("run --progress loud", 2, "--progress"),
        ("run --stages-dir nowhere", 2, "nowhere: is not a folder"),
        ("run --output /proc/nowhere", 2, "the run folder cannot be written"),
        ("run data.path=absent.txt", 2, "absent.txt"),
        ("resume absent", 2, "absent: is no run folder"),
        ("resume", 2, "holds no unfinished run"),
        ("watch", 2, "holds no run that is running"),
        ("watch absent", 2, "absent: is no run folder"),
        ("compare one", 2, "takes two runs or more"),
        ("compare one two", 2, "one: is no run folder"),
        ("rm absent --yes", 2, "absent: is no run folder"),
        ("plan --vram 0", 2, "--vram 0: must be the GPU's memory, more than 0"),
        ("plan --vram much", 2, "--vram much: must be the GPU's memory"),
        ("plan --vram 0.1", 3, "the smallest budget that fits is --vram"),
        ("run --vram 0.1", 3, "the smallest budget that fits is --vram"),
        ("plan --max-time soon", 2, "--max-time 'soon': write a time such as"),
        ("plan --max-time 0.1s", 3, "one step an epoch already takes --max-time"),
        ("run --max-time 0.1s", 3, "one step an epoch already takes --max-time"),
        ("plan --grow --profile 8gb", 2, "--grow: goes with --profile fit alone, not 8gb"),
        ("plan --from nowhere.pt", 2, "--from nowhere.pt: is no checkpoint file"),
        ("plan -o nowhere/plan.json", 2, "nowhere/plan.json: cannot be written"),
        ("run --plan nowhere.json", 2, "nowhere.json: cannot be read"),
        ("run --plan plan.json epochs=2", 2, "--plan plan.json: says all there is to plan"),
        ("run --plan plan.json --vram 8", 2, "--plan plan.json: says all there is to plan"),
        ("run --bogus", 2, "--bogus"),
        ("bogus", 2, "bogus"),
    ],
)
def test_wrong_usage_is_one_sentence_and_a_code(
    start: Start, tmp_path: Path, words: str, code: int, says: str
) -> None:
    got, _, err = finish(start(*words.split()))
    assert got == code, err
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        (
            {"a": "stage: 1\nepoch: 3\n"},
            2,
            "a.yaml:2:1: unknown key 'epoch'\n   2 | epoch: 3\n     | ^ did you mean epochs?",
        ),
        ({"a": "stage: 1\nepochs: x\n"}, 2, "a.yaml:2:9: epochs must be a whole number"),
        ({"a": "stage: 1\nepochs: -2\n"}, 2, "a.yaml:2:9: epochs must be at least 1"),
        ({"a": "stage: 1\nplasticity_profile: x\n"}, 2, "a.yaml:2:21: plasticity_profile 'x'"),
        ({"a": "stage: 1\n", "b": "stage: 1\n"}, 2, "b.yaml:1:8: stage 1 is already defined by"),
        ({"a": "stage: 1\n", "b": "stage: 3\n"}, 2, "stage 2 is not there"),
        ({"a": "stage: 1\n\tx: 1\n"}, 2, "a.yaml:2:1"),
    ],
)
def test_a_wrong_stage_file_is_a_located_sentence_and_its_line(
    start: Start, tmp_path: Path, files: dict[str, str], code: int, says: str
) -> None:
    for name, text in files.items():
        write_stage(tmp_path / "mine", name, text)
    got, out, err = finish(start("run", "--stages-dir", "mine"))
    assert got == code
    assert says in err
    assert len([line for line in err.splitlines() if not line.startswith("  ")]) == 1
    assert out == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "data.txt"), (b"caf\xe9\n" * 100, "data.txt"), (b"one line\n", "data.txt")],
    ids=["empty", "not UTF-8", "smaller than a batch"],
)
def test_data_that_cannot_be_trained_on_fails_before_anything_starts(
    start: Start, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "data.txt").write_bytes(content)
    code, _, err = finish(start("run", "data.path=data.txt"))
    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_run_ends_with_a_table_on_stdout(start: Start, tmp_path: Path) -> None:
    code, out, err = finish(start("run", "--stages", "1-3", "--name", "mine"))
    assert code == 0
    assert "stage 1: starts, 4×4×4 cells" in err
    assert "\x1b" not in out + err  # off a terminal nothing moves
    assert "'a [red] dog runs' came back as 'a [red] dog'" in err
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("Z-mine")
    *_, ended, hint = out.splitlines()
    assert ended == f"completed: {folder}"
    assert hint.startswith("Next: ")
    assert f"report {folder.name} --open" in hint
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["1", "2", "3"]


def test_json_is_events_and_then_the_summary(start: Start, tmp_path: Path) -> None:
    code, out, _ = finish(start("run", "--stages", "1", "--json", "--quiet"))
    *events, summary = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert all("event" in event for event in events)
    assert {event["event"] for event in events} >= {"stage_start", "step", "stage_end"}
    assert summary["schema"] == 1
    assert summary["status"] == "completed"
    assert summary["stages"][0]["metrics"]["bleu"] == 0.1
    assert json.loads(next(tmp_path.glob("runs/*/summary.json")).read_text()) == summary


def test_quiet_says_nothing_while_running(start: Start) -> None:
    code, _, err = finish(start("run", "--stages", "1", "--quiet", "--verbose"))
    assert (code, err) == (0, "")


def test_verbose_adds_the_plan_with_reasons_and_the_log_of_the_worker(start: Start) -> None:
    code, out, err = finish(start("run", "--stages", "1", "--verbose"))
    assert code == 0
    assert "stage 1: lattice.dimensions as in the table (memory:cpu)" in err
    assert "stage 1: worker environment: MALLOC_" in err
    assert "stage 1: fake worker" in err
    assert "memory:cpu" not in out


def test_smoke_is_one_short_epoch_at_16_cubed(start: Start, tmp_path: Path) -> None:
    code, out, _ = finish(start("run", "--smoke", "--json", "seed=3"))
    assert code == 0
    (row,) = json.loads(out.splitlines()[-1])["stages"]
    assert (row["stage"], row["dimensions"], row["epochs"]) == (1, [16, 16, 16], 1)
    assert row["samples"] == 64
    (resolved,) = tmp_path.glob("runs/*-smoke/stage-1/resolved.yaml")
    text = resolved.read_text()
    assert "epochs: --smoke" in text
    assert "seed: command line" in text


def test_seed_is_short_for_an_override(start: Start, tmp_path: Path) -> None:
    finish(start("run", "--stages", "1", "--seed", "7", "--quiet"))
    (resolved,) = tmp_path.glob("runs/*/stage-1/resolved.yaml")
    assert "\n  seed: 7\n" in resolved.read_text()


def test_plan_prints_a_table_or_data(start: Start, tmp_path: Path) -> None:
    code, out, err = finish(start("plan", "--vram", "16"))
    assert (code, err) == (0, "")
    assert "40×40×30 32×32×24" in out
    assert "  stage 5: lattice.dimensions as in the table (memory:16gb)" in out
    assert max(map(len, out.splitlines()[:8])) <= 80
    code, out, _ = finish(start("plan", "--vram", "0.1", "--json"))
    assert code == 3  # and still all data
    assert [stage["fits"] for stage in json.loads(out)["stages"]] == [False] * 5
    code, out, _ = finish(start("plan", "--vram", "0.9", "--stages", "5", "--json"))
    (stage,) = json.loads(out)["stages"]
    assert stage["fits"] is not bool(stage["would_fit"])
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, start: Start) -> None:
    process = start("plan", "--vram", "16", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(60)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_version_and_module(start: Start) -> None:
    assert finish(start("--version"))[:2] == (0, f"celltrain {__version__}\n")
    module = subprocess.run(
        [sys.executable, "-m", "cell_train", "--version"], capture_output=True, text=True
    )
    assert module.stdout == f"celltrain {__version__}\n"


def test_an_earlier_run_is_never_touched(start: Start, tmp_path: Path, behave: Behave) -> None:
    finish(start("run", "--stages", "1", "--quiet"))
    (first,) = (tmp_path / "runs").iterdir()
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    behave({1: "exit"})
    finish(start("run", "--stages", "1", "--quiet"))
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert len(list((tmp_path / "runs").iterdir())) == 2
