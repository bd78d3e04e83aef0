"""README and docs: every command block is run, every quoted message exists.

Blocks run one after another, a document at a time, in one folder; the Python of a document shares
its names. celltrain's stages are small there, and its workers replay one shared run
(tests/support/replay.py). A line to be run otherwise, or not at all, stands in a table below.
"""

import ast
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support import toy

DOCUMENTS = [toy.ROOT / "README.md", *sorted((toy.ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(\$ )?(\w+=\S+ )*(celltrain|make|(\.venv/bin/)?python|pip|scripts/\S+)\s")
BESIDE = ("#", "printf ", "tail ", "head ", "cat ", "cd ", "mkdir ")  # may stand between commands
LANGUAGES = {"sh": "shell", "bash": "shell", "console": "shell"}

SYNOPSIS = "[OPTIONS]"  # in a line that says how a command is called in general
NOT_RUN = {  # beginning of a line -> why it is not run here
    "make ": "sets up an environment of its own; CI runs these targets",
    "celltrain run --stages-dir recipes/": "takes hours; tests/config checks the recipes",
    "celltrain run data.path=my.txt text.encoder=sentence": "needs that extra, and a model",
    "celltrain run data.path=hf:": "needs the extra datasets; tests/tasks stand in for it",
    "celltrain calibrate": "trains two stages; tests/diagnostics has smaller ones",
    "pip install": "would change the environment that the tests run in",
    ".venv/bin/python scripts/bench.py": "as the next",
    ".venv/bin/python -m scripts.benchmarks": "compiles for minutes",
    "python scripts/bench.py": "takes minutes; what it prints is in docs/performance.md",
    "python scripts/ablate.py": "takes minutes; the page beside it shows what it prints",
    "python -m pytest": "is what runs this",
    "celltrain run --stages 3-5 --profile cpu": "takes minutes, and captions from elsewhere",
    "python scripts/fault_test.py": "tests/test_fault_test.py runs a short form of each",
    "celltrain demo grow": "takes minutes; tests/cli/test_tasks_page.py has smaller ones",
    "celltrain run --stages-dir grown": "as the next",
    "celltrain report grown": "as the next",
    "celltrain run --stages-dir heat": "tests/cli/test_tasks_page.py trains it, smaller",
    "python scripts/picture.py": "draws docs/run.svg from a run of minutes",
}
REPLACED = {  # what is written, as a pattern -> what is run
    r"lattice\.dimensions=\[10,10,36\]": "lattice.dimensions=[4,4,4]",
    r"--stages 6\b": "--stages 5",  # the shared run has no scale stage
    r"bleu>=0\.3": "bleu>=0",  # which so small a lattice cannot reach
    r"\bRUN1?\b": "$(ls runs | grep ^2 | tail -n 1)",  # a run of the reader's
    r"\bRUN2\b": "$(ls runs | grep ^2 | head -n 1)",
    r" --open\b": "",  # no browser here
}


@dataclass(frozen=True)
class Block:
    """An indented or fenced block of a document."""

    document: Path
    line: int
    language: str  # shell, python, or what its fence says
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(path: Path, text: str) -> Iterator[Block]:
    """Blocks of a Markdown text: fenced, or indented by four after an empty line."""
    lines = [*text.splitlines(), ""]
    index = 0
    while index < len(lines):
        begin, fence = index + 1, re.match(r"( *)```+(\w*)", lines[index])
        if fence:
            end = next(i for i in range(begin, len(lines)) if lines[i].strip().startswith("```"))
            body = [line.removeprefix(fence[1]) for line in lines[begin:end]]
            index = end + 1
        elif lines[index].startswith("    ") and (index == 0 or not lines[index - 1].strip()):
            while index < len(lines) and (lines[index].startswith("    ") or not lines[index]):
                index += 1
            body = [line[4:] for line in lines[begin - 1 : index]]
        else:
            index += 1
            continue
        language = fence[2] if fence else ""
        if not language and any(COMMAND.match(line) for line in body):
            language = "sh"
        yield Block(path, begin, LANGUAGES.get(language, language), "\n".join(body).strip())


BLOCKS = [block for path in DOCUMENTS for block in blocks(path, path.read_text())]


def commands(block: Block) -> str:
    """The script of a shell block, small enough to be run here.

    Raises ValueError for a line of which nobody has said how it is to be run.
    """
    script = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith(tuple(NOT_RUN)) or SYNOPSIS in line:
            continue
        if line.strip() and not (COMMAND.match(f"{line} ") or line.startswith(BESIDE)):
            raise ValueError(f"{block}: {line!r}: is neither run as is nor in a table of this test")
        for written, run in REPLACED.items():
            line = re.sub(written, run, line)
        script.append(line.removeprefix("$ "))
    return "\n".join(script)


@dataclass(frozen=True)
class Desk:
    """Where a reader sits: a folder with a text, runs, the scripts and a celltrain."""

    folder: Path
    environment: dict[str, str]

    def leave_unfinished(self) -> None:
        """Make the newest run one that was interrupted before its last stage."""
        shared = Path(self.environment["SHARED_RUN"])
        folder = self.folder / "runs" / "20000101T000000Z-interrupted"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(shared, folder)
        shutil.rmtree(folder / "stage-5" / "checkpoints")
        for path in (folder / "stage-5" / "result.json", folder / "summary.json"):
            path.unlink()
        os.utime(folder / "plan.json", (time.time() + 60, time.time() + 60))


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """With one run of all stages, for real; later ones replay it."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("scripts", "stages"):
        (folder / name).symlink_to(toy.ROOT / name)
    sentences = toy.sentences()
    for name in ("my.txt", "in.txt", "train.txt"):
        (folder / name).write_text(sentences)
    backwards = (" ".join(reversed(line.split())) for line in sentences.splitlines())
    (folder / "test.txt").write_text("\n".join(backwards))
    np.save(folder / "my.npy", np.random.default_rng(0).standard_normal((60, 384), np.float32))
    pairs = (f'"{line}","{line}"' for line in sentences.splitlines())
    (folder / "chat.csv").write_text("\n".join(("question,answer", *pairs)))
    data = {"CELLTRAIN_DATA__PATH": "my.txt"}
    real = toy.environment(folder / "bin") | data
    trained = toy.shell("celltrain run --output shared --quiet", folder, real)
    assert trained.returncode == 0, trained.stderr
    (shared,) = (folder / "shared").iterdir()
    shutil.copytree(shared, folder / "runs" / "20010101T000000Z-shared")
    replayed = toy.environment(folder / "replaying", replays=True) | data
    return Desk(folder, replayed | {"SHARED_RUN": str(shared)})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_python_work_as_written(
    document: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.syspath_prepend(desk.folder)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in (block for block in BLOCKS if block.document == document):
        named = re.match(r"# (\w+\.(py|yaml))\n", block.text)
        if named:
            (desk.folder / named[1]).write_text(block.text)
        if block.language == "shell":
            run(commands(block), desk, block)
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)


def run(script: str, desk: Desk, block: Block) -> None:
    """Run a block's script; all its lines must succeed."""
    if "celltrain resume" in script:
        desk.leave_unfinished()
    done = toy.shell(script, desk.folder, desk.environment)
    said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, f"{block}:\n{script}\n{said}"


def test_no_command_is_left_out() -> None:
    """Blocks of commands are found: the test above would pass on none."""
    found = "\n".join(block.text for block in BLOCKS if block.language == "shell")
    for document in DOCUMENTS:
        for line in document.read_text().splitlines():
            if re.match(r"    celltrain \w", line):
                assert line.strip() in found, f"{document.name}: {line}"
    assert "celltrain run --stages 1-5" in found


def test_a_line_nobody_has_thought_of_is_an_error() -> None:
    (block,) = blocks(Path("x.md"), "    celltrain ls\n    rm -rf /\n")
    with pytest.raises(ValueError, match="neither run as is"):
        commands(block)


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_messages_in_the_faq_are_those_of_the_source() -> None:
    source = {text for path in (toy.ROOT / "cell_train").rglob("*.py") for text in messages(path)}
    quoted = re.findall(r"^### `(.+)`$", (toy.ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert len(quoted) > 10
    for quote in quoted:
        pattern = ".*".join(re.escape(part) for part in quote.split("…"))
        assert any(re.search(pattern, text, re.DOTALL) for text in source), quote


def messages(path: Path) -> Iterator[str]:
    """String literals of a file, … for what is put in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
