"""The page as a file: what it says, what it holds, and what it refuses."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from cell_train.cli import app
from cell_train.errors import ConfigError, NotSaved
from cell_train.play import page
from cell_train.play.numbers import MOST, packed
from cell_train.report.run_data import reading
from cell_train.report.run_data.story import Story
from cell_train.run_folder.paths import RunFiles
from cell_train.training.trained_model import TrainedModel


@pytest.fixture(scope="module")
def story(run: RunFiles) -> Story:
    return reading.read(run)


def held(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', html, re.S)
    assert found
    numbers: dict[str, Any] = json.loads(found[1])
    return numbers


def test_it_says_what_was_trained_and_how_well(story: Story, trained: TrainedModel) -> None:
    html = page.html(story, 2, trained.portable())
    text = re.sub(r"<[^>]+>", " ", html.split("<script")[0])
    score = story.stages[0].evaluations[-1].metrics["bleu"]
    for said in (
        "small",
        "text",
        "2: Learning + Moderate Plasticity",
        "4×4×4",
        "6 numbers a cell",
        f"{score:.3f}",
    ):
        assert said in text
    assert story.stages[0].samples[0][0] in html  # the sentence to begin with


def test_it_holds_the_lattice_number_by_number(story: Story, trained: TrainedModel) -> None:
    numbers = held(page.html(story, 2, trained.portable()))
    wiring = trained.model.network.connections
    strength = np.frombuffer(base64.b64decode(numbers["strength"]["data"]), "<f4")
    assert numbers["strength"]["type"] == "f4"
    assert strength.tolist() == wiring.strength.tolist()
    assert numbers["echo"] is True
    answers = replace(story.stages[0], samples=[("how are you", "well", "well")])
    assert held(page.html(replace(story, stages=[answers]), 2, trained.portable()))["echo"] is False


def test_nothing_but_its_own_script_and_style_may_count(
    story: Story, trained: TrainedModel
) -> None:
    html = page.html(story, 2, trained.portable())
    script = re.findall(r"<script>(.*?)</script>", html, re.S)
    style = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert (len(script), len(style)) == (1, 1)
    for kind, text in (("script", script[0]), ("style", style[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    assert not re.search(r'(src|href)="(?!data:)', html)


def test_what_a_stranger_wrote_is_text(story: Story, trained: TrainedModel) -> None:
    attack = "</script><script>pwned=1</script><img src=x onerror=pwned=1>"
    stage = replace(
        story.stages[0],
        description=attack,
        profile=attack,
        primary=attack,
        samples=[(f'"{attack}', attack, attack)],
    )
    portable = trained.portable()
    portable["task"]["vocabulary"] = [attack] * 9
    html = page.html(replace(story, name=attack, date=attack, stages=[stage]), 2, portable)
    assert "<script>pwned" not in html
    assert "<img" not in html
    assert held(html)["task"]["vocabulary"][0] == attack


def test_too_much_for_a_page_is_refused_by_name() -> None:
    large = {"leave": np.zeros(MOST // 4 + 1, "<f4"), "task": {"enter": np.zeros(3, "<f4")}}
    with pytest.raises(ConfigError, match=r"take 64 MiB \(leave 64 MiB, task.enter 0 MiB.*--stage"):
        packed(large)


def test_a_rule_of_ones_own_is_refused(trained: TrainedModel) -> None:
    network = SimpleNamespace(rule=nn.Identity())
    model = replace(trained.model, network=network)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a rule of your own \\(Identity\\)"):
        replace(trained, model=model).portable()


def test_a_task_of_ones_own_gets_the_lattice_alone(story: Story, trained: TrainedModel) -> None:
    portable = trained.portable() | {"task": {"kind": "other"}}
    html = page.html(story, 2, portable)
    assert held(html)["task"] == {"kind": "other"}
    assert "form class" not in html


def test_embeddings_made_elsewhere_leave_no_box_to_type_in(
    story: Story, trained: TrainedModel
) -> None:
    portable = trained.portable()
    portable["task"] = portable["task"] | {"encoder": "given"}
    html = page.html(story, 2, portable)
    assert 'name="code"' in html
    assert "form class" not in html


def test_the_command_writes_it_into_the_report_or_where_asked(
    run: RunFiles, tmp_path: Path
) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "runs" / run.folder.name)
    asked = ["play", "small", "--output", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, asked)
    assert (done.exit_code, done.stdout.strip()) == (0, str(copy / "report" / "play.html"))
    target = tmp_path / "page.html"
    done = CliRunner().invoke(app, [*asked, "--export", str(target)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(target))
    assert held(target.read_text())["dimensions"] == [4, 4, 4]


def test_where_it_cannot_be_written_is_said(run: RunFiles, tmp_path: Path) -> None:
    asked = ["play", str(run.folder), "--export"]
    wrong = CliRunner().invoke(app, [*asked, str(tmp_path / "page.htm")])
    assert isinstance(wrong.exception, ConfigError)
    assert "end its name in .html" in str(wrong.exception)
    nowhere = CliRunner().invoke(app, [*asked, str(tmp_path / "file" / "no" / "page.html")])
    assert isinstance(nowhere.exception, NotSaved)
    absent = CliRunner().invoke(app, [*asked, str(tmp_path / "page.html"), "--stage", "9"])
    assert isinstance(absent.exception, ConfigError)
    assert not list(tmp_path.iterdir())
