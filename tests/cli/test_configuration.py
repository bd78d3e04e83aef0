"""`validate`, `show`, `why`, `init`, `schema` and completion, as they are met from outside."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Celltrain = Callable[..., "subprocess.CompletedProcess[str]"]

WRONG = "stage: 1\nepoch: 3\nlattice: {channels: no%, hidden: 0}\n"


@pytest.fixture
def celltrain(tmp_path: Path) -> Celltrain:
    """Run the command line in an empty folder."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cell_train", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_validate_shows_each_problem_with_its_line(celltrain: Celltrain, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WRONG)
    done = celltrain("validate", "a.yaml", CI="true")
    assert done.returncode == 2
    assert done.stderr == ""
    assert done.stdout == (
        "a.yaml:2:1: unknown key 'epoch'\n"
        "   2 | epoch: 3\n"
        "     | ^ did you mean epochs?\n"
        "a.yaml:3:21: lattice.channels must be a whole number, not 'no%'\n"
        "   3 | lattice: {channels: no%, hidden: 0}\n"
        "     |                     ^\n"
        "a.yaml:3:34: lattice.hidden must be at least 1, not 0\n"
        "   3 | lattice: {channels: no%, hidden: 0}\n"
        "     |                                  ^\n"
        "1 stage file, 3 problems\n"
    )


def test_validate_for_programs_and_for_github(celltrain: Celltrain, tmp_path: Path) -> None:
    (tmp_path / "a,b.yaml").write_text(WRONG)
    done = celltrain("validate", ".", "--format", "json", CELLTRAIN_SEED="5%")
    assert done.returncode == 2
    data = json.loads(done.stdout)
    assert [(one["name"], one["line"], one["column"], one["key"]) for one in data["problems"]] == [
        ("a,b.yaml", 2, 1, "epoch"),
        ("a,b.yaml", 3, 21, "lattice.channels"),
        ("a,b.yaml", 3, 34, "lattice.hidden"),
        ("environment variable CELLTRAIN_SEED", 0, 16, "seed"),
    ]
    done = celltrain("validate", "a,b.yaml", "--format", "github", CELLTRAIN_SEED="5%")
    assert done.stdout.splitlines() == [
        "::error file=a%2Cb.yaml,line=2,col=1,title=celltrain::"
        "unknown key 'epoch' (did you mean epochs?).",
        "::error file=a%2Cb.yaml,line=3,col=21,title=celltrain::"
        "lattice.channels must be a whole number, not 'no%25'.",
        "::error file=a%2Cb.yaml,line=3,col=34,title=celltrain::"
        "lattice.hidden must be at least 1, not 0.",
        "::error::environment variable CELLTRAIN_SEED: seed must be a whole number, not '5%25'.",
    ]


def test_validate_says_when_all_is_well(celltrain: Celltrain) -> None:
    done = celltrain("validate")
    assert (done.returncode, done.stdout) == (0, "6 stage files, no problems\n")
    done = celltrain("validate", "--format", "github")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_a_stranger_wrote_does_not_reach_the_terminal(
    celltrain: Celltrain, tmp_path: Path
) -> None:
    text = 'stage: 1\ndescription: [red, x\u202e]\nepochs: "\\e[31m [bold]"\n'
    (tmp_path / "a.yaml").write_text(text + f"seed: '{'x' * 500}'\n")
    done = celltrain("validate", "a.yaml", COLUMNS="80")
    assert done.returncode == 2
    assert not set(done.stdout) & set("\x1b\u202e")
    assert "[bold]" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if line.startswith("  "))


def test_run_and_plan_tell_of_the_same_problems(celltrain: Celltrain, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.yaml").write_text(WRONG)
    problems = celltrain("validate", "mine").stdout.rpartition("\n1 stage file")[0]
    for command in ("run", "plan"):
        done = celltrain(command, "--stages-dir", "mine")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.rstrip("\n") == problems


def test_show_and_why_explain_what_plan_would_do(celltrain: Celltrain) -> None:
    shown = celltrain("show", "5", "--vram", "16", "lattice.channels=12").stdout
    assert "  dimensions: [32, 32, 24]\n  channels: 12\n" in shown
    every = celltrain("show", "seed=4", "--sources").stdout.split("---\n")
    assert len(every) == 5
    assert all("seed: 4 " in one for one in every)
    said = celltrain("why", "lattice.dimensions", "--stage", "5", "--vram", "16").stdout
    assert said.splitlines()[-3:] == [
        "    [16, 16, 16]  defaults",
        "    [40, 40, 30]  stages/stage5.yaml:15",
        " => [32, 32, 24]  memory:16gb",
    ]
    wrong = celltrain("why", "lattice.dimension")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == ("unknown key 'lattice.dimension' (did you mean lattice.dimensions?).\n")


def test_init_writes_stages_that_validate_and_overwrites_nothing(
    celltrain: Celltrain, tmp_path: Path
) -> None:
    own = tmp_path / "my stages" / "stage2.yaml"
    own.parent.mkdir()
    own.write_text("stage: 2\n")
    done = celltrain("init", "my stages")
    assert done.returncode == 0
    assert "left as they were: stage2.yaml\n" in done.stdout
    assert " run --stages-dir 'my stages'\n" in done.stdout
    assert own.read_text() == "stage: 2\n"
    modeline, _, rest = (own.parent / "stage1.yaml").read_text().partition("\n")
    schema = own.parent / modeline.removeprefix("# yaml-language-server: $schema=")
    assert schema.read_text() == celltrain("schema").stdout
    assert rest == (ROOT / "stages" / "stage1.yaml").read_text()
    assert celltrain("validate", "my stages").stdout == "6 stage files, no problems\n"
    before = {path: path.read_bytes() for path in own.parent.iterdir()}
    assert celltrain("init", "my stages").returncode == 0
    assert {path: path.read_bytes() for path in own.parent.iterdir()} == before


def test_init_where_nothing_can_be_written(celltrain: Celltrain, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = celltrain("init", "file/stages")
    assert done.returncode == 2
    assert done.stderr == "file/stages: cannot be written (Not a directory).\n"


def test_schema_knows_a_user_s_profiles(celltrain: Celltrain, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "plasticity: {mine: {learning_rate: 1, time_window: 5, winner_boost: 1,"
        " lateral_inhibition: 1}}\n"
    )
    schema = json.loads(celltrain("schema", "--profiles", "p.yaml").stdout)
    assert "mine" in schema["properties"]["plasticity_profile"]["enum"]


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("celltrain run --stages ", ["1", "2", "3", "4", "5", "6"]),
        ("celltrain run --stages 2-", ["2-1", "2-2", "2-3", "2-4", "2-5", "2-6"]),
        ("celltrain plan --profile ", ["8gb", "16gb", "24gb", "cpu", "fit"]),
        ("celltrain plan --profile 1", ["16gb"]),
        ("celltrain run lattice.c", ["lattice.channels=", "lattice.connection_density="]),
        ("celltrain run objective=", ["objective=embedding", "objective=text"]),
        ("celltrain run plasticity_profile=f", ["plasticity_profile=freeze"]),
        (
            "celltrain why training.w",
            [*("training.weight_decay", "training.warmup_steps"), "training.watchdog"],
        ),
        ("celltrain show ", ["1", "2", "3", "4", "5", "6"]),
        ("celltrain run --stages-dir nowhere --stages ", []),
    ],
)
def test_the_shell_completes(celltrain: Celltrain, line: str, offers: list[str]) -> None:
    done = celltrain(_CELLTRAIN_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line)
    assert done.stderr == ""
    words = re.findall(r'(?:\(\(|^)"([^"]+)"', done.stdout, re.MULTILINE)
    assert words == offers, done.stdout


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (("run", "objective", "="), ["embedding", "text"]),
        (("run", "objective", "=", "t"), ["text"]),
        (("run", "seed=1", "see"), ["seed="]),
        (("run", "epochs", "="), []),
    ],
)
def test_bash_completes_although_it_splits_at_the_sign(
    celltrain: Celltrain, words: tuple[str, ...], offers: list[str]
) -> None:
    done = celltrain(
        _CELLTRAIN_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(("celltrain", *words)),
        COMP_CWORD=str(len(words)),
    )
    assert (done.stdout.split(), done.stderr) == (offers, "")


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cell_train.cli import complete; complete.overrides('lattice.');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'omegaconf', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
