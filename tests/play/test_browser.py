"""The page in a real browser: quiet, alive, and at home on a phone."""

from pathlib import Path

import pytest

from cell_train.play import page
from cell_train.report.run_data import reading
from cell_train.run_folder.paths import RunFiles
from cell_train.training.trained_model import TrainedModel
from scripts.browser import Page

PIXELS = "document.querySelector('canvas.lattice').toDataURL()"
PAUSE = "document.querySelector('[name=run]').textContent === 'Pause' && press('run')"
PRESS = "globalThis.press = (name) => document.querySelector(`[name=${name}]`).click()"
MIDDLE = """(() => {
    const canvas = document.querySelector('canvas.lattice');
    canvas.scrollIntoView({block: 'center'});
    const box = canvas.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
})()"""


@pytest.fixture(scope="module")
def path(run: RunFiles, trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("page") / "play.html"
    page.write(target, reading.read(run), 2, trained.portable())
    return target


def still(tab: Page, path: Path, ticks: int) -> None:
    """Open it, stopped after so many ticks."""
    tab.open(path)
    tab.evaluate(f"{PRESS}; {PAUSE}; press('anew')")
    tab.evaluate(f"for (let t = 0; t < {ticks}; t++) press('tick')")
    tab.settle()


def use(tab: Page, tool: str) -> None:
    tab.evaluate(f"document.querySelector('[name=tool][value={tool}]').click()")


def test_it_is_silent_asks_for_nothing_and_runs_by_itself(tab: Page, path: Path) -> None:
    tab.complaints.clear()
    tab.requests.clear()
    tab.open(path)
    began = tab.evaluate("celltrain.ticks")
    tab.evaluate("new Promise(done => { const wait = () => celltrain.ticks > 3 ? done() :"
                 " setTimeout(wait, 50); wait(); })")  # fmt: skip
    assert tab.evaluate("celltrain.ticks") > began
    assert tab.complaints == []
    assert {one for one in tab.requests if not one.startswith("data:")} == {path.as_uri()}


def test_what_comes_out_is_what_ask_answers(tab: Page, path: Path, trained: TrainedModel) -> None:
    still(tab, path, 0)
    text = "two old cats"
    tab.evaluate(f"document.querySelector('[name=text]').value = '{text}';"
                 " document.querySelector('form.say button').click()")  # fmt: skip
    tab.evaluate(f"for (let t = 0; t < {trained.model.network.ticks}; t++) press('tick')")
    said = tab.evaluate("document.querySelector('.arrived .words').textContent")
    assert said.split() == trained.ask([text])[0].output.split()
    tab.evaluate("document.querySelector('[name=text]').value = 'the <b>zyx</b>';"
                 " document.querySelector('form.say button').click()")  # fmt: skip
    assert "zyx" in tab.evaluate("document.querySelector('.remark').textContent")


def test_the_mouse_cuts_cells_and_they_come_back(tab: Page, path: Path) -> None:
    still(tab, path, 40)
    use(tab, "cut")
    middle = tab.evaluate(MIDDLE)
    before = tab.evaluate("[...celltrain.lattice.cells]")
    tab.drag(middle, middle)
    cut = tab.evaluate("[...celltrain.lattice.cells]")
    gone = [i for i, (a, b) in enumerate(zip(before, cut, strict=True)) if a and not b]
    assert len(gone) >= 6  # a cell's numbers, at least
    assert tab.evaluate("celltrain.alike()") < 0.95
    tab.evaluate("for (let t = 0; t < 40; t++) press('tick')")
    assert tab.evaluate("celltrain.alike()") > 0.999
    assert max(abs(a - b) for a, b in zip(before, tab.evaluate(
        "[...celltrain.lattice.cells]"), strict=True)) < 1e-3  # fmt: skip


def test_the_mouse_silences_wakes_paints_and_turns(tab: Page, path: Path) -> None:
    still(tab, path, 20)
    middle = tab.evaluate(MIDDLE)
    asleep = "celltrain.lattice.awake.filter(one => !one).length"
    use(tab, "silence")
    tab.drag(middle, middle)
    silent = tab.evaluate(asleep)
    assert silent > 0
    tab.evaluate("for (let t = 0; t < 20; t++) press('tick')")
    assert tab.evaluate("celltrain.alike()") < 0.999
    tab.evaluate("press('all')")
    assert tab.evaluate(asleep) == 0
    use(tab, "paint")
    before = tab.evaluate("[...celltrain.lattice.cells]")
    tab.drag(middle, middle)
    assert tab.evaluate("[...celltrain.lattice.cells]") != before
    use(tab, "turn")
    cells = tab.evaluate("[...celltrain.lattice.cells]")
    tab.evaluate("new Promise(done => setTimeout(done, 400))")  # until what was painted is drawn
    seen = tab.evaluate(PIXELS)
    tab.drag(middle, (middle[0] + 80, middle[1] + 20))
    assert tab.evaluate(PIXELS) != seen
    assert tab.evaluate("[...celltrain.lattice.cells]") == cells


def test_colour_and_layers_choose_what_is_seen(tab: Page, path: Path) -> None:
    still(tab, path, 4)
    seen = set()
    for choice in ("state", "strength", "change"):
        tab.evaluate(f"document.querySelector('[name=by][value={choice}]').click()")
        tab.evaluate("new Promise(done => setTimeout(done, 400))")
        seen.add(tab.evaluate(PIXELS))
    slider = "document.querySelector('[name=layers]')"
    tab.evaluate(f"{slider}.value = 2; {slider}.dispatchEvent(new Event('input'))")
    tab.settle()
    seen.add(tab.evaluate(PIXELS))
    assert len(seen) == 4


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_scrolling_sideways(tab: Page, path: Path, dark: bool) -> None:
    tab.complaints.clear()
    tab.open(path, 390, 844, dark)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    beyond = (
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll') &&"
        " one.getBoundingClientRect().right > 391).map(one => one.outerHTML.slice(0, 80))"
    )
    assert tab.evaluate(beyond) == []
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert tab.complaints == []


def test_a_lattice_without_a_task_lives_too(
    tab: Page, run: RunFiles, trained: TrainedModel, tmp_path: Path
) -> None:
    target = tmp_path / "other.html"
    page.write(target, reading.read(run), 2, trained.portable() | {"task": {"kind": "other"}})
    tab.complaints.clear()
    tab.open(target)
    tab.evaluate(f"{PRESS}; {PAUSE}; press('tick'); press('half')")
    assert tab.evaluate("celltrain.alike()") < 0.9
    assert tab.complaints == []
