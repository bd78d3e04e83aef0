"""Sentences, numbers and figures say what the run did."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest

from cell_train.formatting import duration, gib
from cell_train.report import prose, sections
from cell_train.report.figures import draw, over_stages, svg
from cell_train.report.figures.svg import Axis, Frame
from cell_train.report.run_data import reading
from cell_train.report.run_data.story import Cells, Emergence, Evaluation, StageStory, Story
from cell_train.run_folder.paths import RunFiles
from tests.report.conftest import ROOT, html

NUMBER = re.compile(r"\d+(?:[.\u202f]\d+)*(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")
SAYINGS: tuple[Callable[[float], str], ...] = (
    *(prose.brief, prose.fixed, prose.seconds, prose.percent),
    *(gib, duration, "{:.1f}".format, "{:.2f}".format, "{:.2g}".format, str),
)
SAID_ALWAYS = {"0", "1", "50", "95", "100", "0.01"}  # in what explains the figures

STAGE = StageStory(2, "Learning", "learning", (5, 5, 5), 1.0, 5)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0, "0"),
        (0.6512, "0.651"),
        (0.00516, "0.00516"),
        (5.9e-4, "5.9·10⁻⁴"),
        (-2.5, "-2.5"),
        (12_345, "12\u202f345"),
        (2.5e9, "2.5·10⁹"),
    ],
)
def test_numbers_are_said_as_people_write_them(value: float | None, said: str) -> None:
    assert prose.brief(value) == said


@pytest.mark.parametrize(
    ("predicted", "measured", "said"),
    [(100, 104, "+4%"), (100, 93, "−7%"), (1000, 997, "±0%"), (10, 35, "×3.5")],
)
def test_a_prediction_is_compared(predicted: float, measured: float, said: str) -> None:
    assert prose.off_by(predicted, measured) == said


def test_a_stage_is_told_against_the_one_before() -> None:
    before = replace(STAGE, evaluations=[Evaluation(1, 0, 9, {"bleu": 0.242})])
    scores = {"bleu": 0.651, "nearest_bleu": 0.177}
    after = replace(
        STAGE,
        status="completed",
        dimensions=(6, 6, 6),
        grown_from=(5, 5, 5),
        cells=216,
        connections=2716,
        density=0.7,
        mean_change=5.9e-4,
        evaluations=[Evaluation(1, 0, 9, scores)],
        seconds=17,
        peak_bytes=432 * 2**20,
        samples_seen=1536,
        emergence=Emergence(0.2, {"bleu": 0.648}, {"bleu": 0.412}, 0.91),
    )
    assert prose.deeds(after, before) == [
        "Grew the lattice from 5×5×5 to 6×6×6: 216 cells with 2\u202f716 connections, 70 % of those"
        " possible.",
        "Held-out BLEU rose from 0.242 to 0.651.",
        "Under the profile learning, a strength moved by 5.9·10⁻⁴ a step.",
        "With a sphere of 20 % of the cells silenced BLEU fell from 0.648 to 0.412; without input a"
        " tick's activity is 0.91 of that of the tick before.",
        "It took 17s and at most 432 MiB of memory for 1\u202f536 samples.",
    ]
    assert prose.reference(after) == ("the nearest training sentence", 0.177)


def test_only_what_is_out_of_place_is_marked() -> None:
    marked = sections._marked("the old <i> mill .", "The mill old <i> . .")
    assert marked == (
        'The <span class="off">mill</span> old &lt;i&gt; . <span class="off">.</span>'
    )


@pytest.mark.parametrize("values", [[0.3], [0.02, 0.97], [9.6, 1.1], [-3, 8], [1e-9], [0.0]])
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    axis = svg.linear(values)
    assert axis.low <= min(values)
    assert axis.high >= max(values)
    assert axis.low < axis.high
    assert axis.ticks[0][0] == axis.low
    assert axis.ticks[-1][0] == axis.high
    assert 2 <= len(axis.ticks) <= 7


def test_a_logarithmic_axis_spaces_powers_of_ten_evenly() -> None:
    axis = svg.decades([0.003, 4.0])
    assert [label for _, label in axis.ticks] == ["0.001", "0.01", "0.1", "1", "10"]
    shares = [axis.share(value) for value, _ in axis.ticks]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert axis.share(0) == 0


def test_a_line_goes_where_its_values_are() -> None:
    frame = Frame(100, 50, Axis(0, 2), Axis(0, 1), left=0, right=0, top=0, bottom=0)
    assert svg.line(frame, [(0, 0), (1, 0.5), (2, 1)], "k") == (
        '<path class="line k" d="M0 50L50 25L100 0"/>'
    )


def test_every_figure_is_well_formed_and_described(trained: RunFiles) -> None:
    drawn = draw.draw(reading.read(trained).stages)
    for name, figure in drawn.items():
        root = ElementTree.fromstring(figure)
        title, description, *_ = root
        assert title.text, name
        assert len(description.text or "") > 15, name


def test_the_score_shows_what_answering_without_a_lattice_scores() -> None:
    stage = replace(STAGE, evaluations=[Evaluation(1, 0, 9, {"bleu": 0.5, "nearest_bleu": 0.1})])
    figure = over_stages.score([stage])
    assert figure is not None
    assert "dashed: the nearest training sentence" in figure
    assert figure.count("line dash") == 1


def test_a_large_face_stays_small() -> None:
    side = 200
    face = [float(n) for n in range(side * side)]
    cells = Cells((side, side, 1), 1, None, face, face, (face, face))
    figure = draw.faces(replace(STAGE, lattice=cells))
    assert figure is not None
    assert len(figure) < 300_000


def test_the_page_of_a_small_run_is_small(trained: RunFiles) -> None:
    assert len(html(trained).encode()) < 150_000


def test_every_number_on_the_page_is_in_metrics(trained: RunFiles) -> None:
    """But for ticks of axes; plans are plan.json's and faces lattice.json's, as the page says."""
    known = set(NUMBER.findall(" ".join(say(v) for v in _recorded(trained) for say in SAYINGS)))
    page = re.sub(r"<(style|script)\b.*?</\1>", "", html(trained), flags=re.DOTALL)
    page = re.sub(r"<text\b[^>]*\btick\b[^>]*>.*?</text>", "", page)
    told = page[page.index("<h1") : page.index("<h2>Configuration")]
    found = NUMBER.findall(unescape(re.sub(r"<[^>]+>", " ", told)))
    assert len(found) > 150
    assert set(found) - known - SAID_ALWAYS == set()


def _recorded(files: RunFiles) -> Iterator[float]:
    """Numbers of metrics.jsonl, plan.json and lattice.json, and what the page derives from them."""
    seconds, plan = 0.0, json.loads(files.plan.read_text())
    for row in plan["stages"]:
        stage = files.stage(row["stage"])
        yield from (row["predicted_peak_bytes"], row["seconds"])
        for line in stage.metrics.read_text().splitlines():
            event = json.loads(line)
            yield from (v for k, v in event.items() if type(v) in (int, float) and k != "time")
            if event["event"] == "clustering":
                yield 1 - event["unassigned"]
            if event["event"] == "strengths":
                counts = [event[f"counts.{index}"] for index in range(40)]
                yield (counts[0] + counts[-1]) / sum(counts)
            if event["event"] == "stage_end":
                seconds += event["seconds"]
                yield abs(event["peak_bytes"] / row["predicted_peak_bytes"] - 1)
                longer = event["seconds"] / row["seconds"]
                yield from (longer, abs(longer - 1))
        for face in json.loads(stage.lattice.read_text())["faces"].values():
            yield from (round(edge(face) * len(face) / sum(face), 2) for edge in (min, max))
    yield seconds


def test_the_command_prints_the_page_it_wrote(trained: RunFiles) -> None:
    command = [sys.executable, "-m", "cell_train", "report", "--output"]
    found = subprocess.run(
        [*command, str(trained.folder.parent), trained.folder.name],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert found.stdout == f"{trained.report / 'index.html'}\n"
    assert "figures beside it" in found.stderr
    absent = subprocess.run([*command, ".", "none"], capture_output=True, text=True, cwd=ROOT)
    assert absent.returncode == 2
    assert "is no run folder" in absent.stderr


def test_a_reply_stands_beside_its_question() -> None:
    told = replace(STAGE, samples=[("who is there ?", "a dog .", "a cat .")])
    story = Story("a", "", "running", None, [told], "", "", [], None, [])
    voices = sections.voices(story)
    assert '<p class="target said"><small>who is there ?</small>a dog .</p>' in voices
    assert 'a <span class="off">cat</span> .' in voices
