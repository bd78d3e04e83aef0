"""What a run has trained, loaded: it answers as the trainer's evaluation did."""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import cell_train
from cell_train import events
from cell_train.cli import app
from cell_train.config import resolve
from cell_train.errors import CheckpointError, ConfigError, DataError
from cell_train.run_folder import identity
from cell_train.run_folder.paths import RunFiles
from cell_train.training import checkpoint
from cell_train.training.trained_model import TrainedModel
from tests.training.conftest import Recorder, small, start


def train(run: Path, number: int = 3, complete: bool = True, **stage: Any) -> Recorder:
    """One small stage in a run folder, as the worker leaves it."""
    files = RunFiles(run).stage(number)
    files.folder.mkdir(parents=True)
    RunFiles(run).plan.write_text("{}")
    identity.mark(RunFiles(run), run.name, datetime.now(UTC))
    resolved = small(run / "text.txt", stage=number, monitor={"samples": 99}, **stage)
    files.resolved.write_text(resolve.write(resolved))
    trainer, recorder = start(resolved, files.folder)
    row: Any = trainer.run()
    if complete:
        files.result.write_text(json.dumps(events.record(row)))
    return recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one completed stage. Tests that change it copy it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(folder, epochs=6, training={"learning_rate": 0.01})
    return folder


@pytest.fixture(scope="module")
def trained(run: Path) -> TrainedModel:
    return cell_train.load(run)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> RunFiles:
    return RunFiles(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_answers_are_those_of_the_trainers_evaluation(tmp_path: Path, precision: str) -> None:
    """The last checkpoint is the one the last evaluation was made on."""
    recorder = train(tmp_path / "run", complete=False, epochs=4, execution={"precision": precision})
    evaluation = recorder.of("evaluation")[-1]
    sources, _, outputs = zip(*evaluation["samples"], strict=True)
    loaded = cell_train.load(tmp_path / "run")
    answers = loaded.ask(sources)
    assert [answer.output for answer in answers] == list(outputs)
    assert len(set(outputs)) > 1
    cosines = [answer.cosine or 0.0 for answer in answers]
    metrics = evaluation["metrics"]
    assert sum(cosines) / len(cosines) == pytest.approx(metrics["cosine"], abs=1e-6)
    assert loaded.evaluate() == pytest.approx(metrics, abs=1e-6)


def test_a_text_can_be_followed_step_by_step(trained: TrainedModel) -> None:
    text = "the young teacher sings"
    drive = trained.drive(trained.encode([text]))
    states = trained.run(drive)
    assert states.shape == (7, 4, 4, 4, 1, 6)
    assert not states[0].any()
    assert torch.equal(trained.step(states[2], drive), states[3])
    assert torch.equal(states[..., 0, :], trained.states(text))
    assert trained.decode(trained.read(states[-1])) == [trained.ask([text])[0].output]
    view = torch.tensor(trained.side_view(text))
    assert view.shape == (7, 4, 4)
    assert view.max() == 1
    other = trained.states("two old cats")
    assert torch.equal(other[1, :, :, 2:], states[1, :, :, 2:, 0])  # one tick, one cell
    assert not torch.equal(other[2, :, :, 2:], states[2, :, :, 2:, 0])


def test_an_answer_says_what_was_not_understood(trained: TrainedModel) -> None:
    words = "the zyx the " + "very " * 40
    texts = [words, "", " \t ", "the " * 24, "\0", "привет 😀"]
    long, *empty, whole, nul, other = trained.ask(texts)
    assert (long.unknown[0], long.cut) == ("zyx", 19)
    assert [(e.output, e.cosine) for e in empty] == [("", None), ("", None)]
    assert (whole.unknown, whole.cut) == ((), 0)
    assert nul.unknown == ("\0",)
    assert other.unknown == ("привет", "😀")
    assert trained.ask([]) == []
    (alone,) = trained.ask(texts[3])  # one text, not its letters
    assert alone.output == whole.output


def test_a_lesion_silences_a_sphere_and_nothing_else_has_changed(trained: TrainedModel) -> None:
    hurt = trained.lesion(0.2)
    at = torch.cartesian_prod(*(torch.arange(4.0),) * 3)
    distance = (at - 1.5).norm(dim=1)
    silent = hurt.awake.flatten() == 0
    assert int(silent.sum()) == 13  # 20 % of 64
    assert distance[silent].max() <= distance[~silent].min()
    states = hurt.states("the young teacher sings")
    assert not states[:, silent.view(4, 4, 4)].any()
    assert states[-1][(~silent).view(4, 4, 4)].any(-1).all()
    assert not torch.equal(states, trained.states("the young teacher sings"))
    whole, damaged = trained.evaluate(), hurt.evaluate()
    assert damaged["cosine"] < whole["cosine"]
    assert trained.lesion(0).evaluate() == whole


def test_a_lesion_of_the_output_face_leaves_nothing_to_read(trained: TrainedModel) -> None:
    corner = trained.lesion(0.05, (0, 0, 3))
    assert corner.awake[0, 0, 3] == 0
    assert corner.awake[3, 3, 0] == 1
    gone = trained.lesion(0.99, (1.5, 1.5, 3))
    assert not gone.read(gone.run(gone.drive(gone.encode(["the cat"])))[-1]).any()
    for share, centre in ((1.0, None), (-0.1, None), (0.2, (1.0,))):
        with pytest.raises(ConfigError, match="share is in"):
            trained.lesion(share, centre)


def test_what_a_gpu_trained_is_loaded_on_the_cpu(copy: RunFiles, trained: TrainedModel) -> None:
    resolved = copy.stage(3).resolved
    on_gpu = "device: cuda:GPU-01234567-89ab-cdef-0123-456789abcdef"
    resolved.write_text(resolved.read_text().replace("device: cpu", on_gpu))
    assert resolve.read(resolved).execution.device.startswith("cuda")
    loaded = cell_train.load(copy.folder)
    assert loaded.model.device.type == "cpu"
    assert loaded.ask(["the cat"]) == trained.ask(["the cat"])


def test_it_is_used_without_the_data_it_was_trained_on(copy: RunFiles) -> None:
    resolved = copy.stage(3).resolved
    gone = copy.folder / "gone.txt"
    text = resolved.read_text()
    resolved.write_text(text.replace(str(resolve.read(resolved).stage.data.path), str(gone)))
    loaded = cell_train.load(copy.folder)
    assert loaded.ask(["the cat"])[0].output
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        loaded.evaluate()


def test_of_several_stages_the_last_complete_ones_best_is_taken(copy: RunFiles) -> None:
    shutil.copytree(copy.stage(3).folder, copy.stage(4).folder)
    shutil.copytree(copy.stage(3).folder, copy.stage(12).folder)
    copy.stage(12).result.unlink()
    taken = cell_train.load(copy.folder)
    assert taken.stage == 4
    assert taken.checkpoint == checkpoint.best(copy.stage(4).checkpoints)
    assert cell_train.load(copy.folder, stage=12).stage == 12
    for number in (3, 4):
        copy.stage(number).result.unlink()
    newest = cell_train.load(copy.folder)
    assert newest.stage == 12
    assert newest.checkpoint == checkpoint.newest(copy.stage(12).checkpoints)[1]


def test_a_damaged_best_checkpoint_is_passed_over_and_said_so(copy: RunFiles) -> None:
    best = checkpoint.best(copy.stage(3).checkpoints)
    assert best is not None
    best.write_bytes(best.read_bytes()[:-1])
    loaded = cell_train.load(copy.folder)
    assert loaded.checkpoint != best
    assert "truncated or altered" in loaded.passed_over[0]
    for path in copy.stage(3).checkpoints.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated or altered"):
        cell_train.load(copy.folder)


def test_what_cannot_be_loaded_is_one_sentence(copy: RunFiles, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run folder"):
        cell_train.load(tmp_path / "absent")
    with pytest.raises(ConfigError, match="holds no stage 7; its stages are 3"):
        cell_train.load(copy.folder, 7)
    for manifest in copy.stage(3).checkpoints.glob("*.json"):
        facts = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99 is newer than this celltrain reads"):
        cell_train.load(copy.folder)
    shutil.rmtree(copy.stage(3).checkpoints)
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        cell_train.load(copy.folder)


def test_a_checkpoint_of_another_lattice_is_refused_before_one_is_built(copy: RunFiles) -> None:
    resolved = copy.stage(3).resolved
    text = resolved.read_text()
    changed = text.replace("dimensions: [4, 4, 4]", "dimensions: [40000, 40000, 40000]")
    assert changed != text
    resolved.write_text(changed)
    with pytest.raises(CheckpointError, match=r"its lattice is \[4, 4, 4\], the stage's \[40000"):
        cell_train.load(copy.folder)


@pytest.mark.parametrize(
    ("key", "most"), [("lattice.ticks", 1000), ("data.max_words", 4096), ("text.beam", 64)]
)
def test_a_stage_that_would_keep_an_answer_busy_is_refused(
    copy: RunFiles, key: str, most: int
) -> None:
    resolved = copy.stage(3).resolved
    text, name = resolved.read_text(), key.rpartition(".")[2]
    changed = re.sub(rf"\b({name}:) [^,}}\n]+", r"\1 1000000000", text)
    assert changed != text
    resolved.write_text(changed)
    with pytest.raises(ConfigError, match=rf"{key} must be between 1 and {most}"):
        cell_train.load(copy.folder)


def test_a_lattice_under_a_rule_of_ones_own_answers_where_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "tests")
    train(tmp_path / "run", epochs=1, lattice={"rule": "tests.model.test_own_rule:Same"})
    assert cell_train.load(tmp_path / "run").ask(["the cat"])[0].cosine is not None
    monkeypatch.delenv("CELLTRAIN_TRUST")
    with pytest.raises(ConfigError, match=r"lattice\.rule must be .* that you trust"):
        cell_train.load(tmp_path / "run")


def ask(*words: str, input: bytes | None = None) -> tuple[list[str], list[str]]:
    """What `celltrain ask` writes on stdout and on stderr."""
    done = CliRunner().invoke(app, ["ask", *words], input=input)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.stderr
    return done.stdout.split("\n")[:-1], done.stderr.splitlines()


def test_ask_prints_answers_and_remarks_apart(run: Path, trained: TrainedModel) -> None:
    texts = ["the young teacher sings", "the [bold]zyx[/]"]
    out, err = ask(str(run), *texts)
    expected = trained.ask(texts)
    assert out == [answer.output for answer in expected]
    assert err[0].startswith(f"cosine {expected[0].cosine:.3f}")
    assert err[1].endswith("not in the vocabulary: [, bold, ], zyx, /")
    (line,), err = ask(str(run), texts[1], "--json")
    record = json.loads(line)
    assert record["text"] == texts[1]
    assert record["unknown"] == ["[", "bold", "]", "zyx", "/"]
    assert err == []


def test_a_file_is_answered_line_by_line_whatever_it_holds(run: Path, tmp_path: Path) -> None:
    hostile = [
        b"the cat",
        b"",
        b"\0",
        "الطبيب\u2028القطة 😀".encode(),
        b"word " * 10_000,
        b"\xff\x1b[2J\r",
    ]
    hostile += [b"x" * (5 << 20)] + [b"the dog"] * 70
    file = tmp_path / "in.txt"
    file.write_bytes(b"\n".join(hostile))
    out, err = ask(str(run), "--file", str(file))
    assert len(out) == len(hostile)
    assert out[1] == ""
    assert out[0]
    assert out[-1] == out[-2]
    assert "\x1b" not in "".join(out + err)
    said = dict(line.removeprefix(f"{file}:").split(": ", 1) for line in err)
    assert {"3", "4", "5", "6", "7"} <= set(said)
    assert "its last 9976 words were not read" in said["5"]
    assert max(map(len, err)) < 1000
    again, _ = ask(str(run), "--file", "-", input=file.read_bytes())
    assert again == out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give texts or --file"),
        (["a", "--file", "b"], "give texts or --file"),
        (["--file", "absent.txt"], "absent.txt: cannot be read"),
        (["a", "b", "--animate"], "take one text"),
        (["a", "--animation", "x.gif"], "end its name in .svg"),
        (["a", "--animation", "/proc/x.svg"], "not written"),
        (["a", "--stage", "9"], "holds no stage 9"),
    ],
)
def test_wrong_use_of_ask_is_one_sentence(run: Path, words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as info:
        ask(str(run), *words)
    assert "\n" not in str(info.value)


def test_an_animation_is_written_and_a_pipe_gets_none(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    out, err = ask(str(run), "the cat", "--animate", "--animation", str(file))
    assert len(out) == 1
    assert "--animate needs a terminal" in err[0]
    assert file.read_text().count("<animate ") == 16
