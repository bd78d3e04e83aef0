"""The page in a real browser: quiet, whole, turnable, and at home on a phone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cell_train.report import page
from cell_train.run_folder.paths import RunFiles
from scripts import browser
from scripts.browser import Page
from tests.report.conftest import Copy, events, rewrite

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed")

SVGS = "[...document.querySelectorAll('figure svg')]"
PIXELS = "document.querySelector('canvas.lattice').toDataURL()"
MIDDLE = """(() => {
    const canvas = document.querySelector('canvas.lattice');
    canvas.scrollIntoView({block: 'center'});
    const box = canvas.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(trained: RunFiles) -> Path:
    return page.write(trained)[0]


def test_the_page_is_silent_and_asks_for_nothing_but_itself(tab: Page, path: Path) -> None:
    tab.complaints.clear()
    tab.requests.clear()
    tab.open(path)
    assert tab.complaints == []
    assert {one for one in tab.requests if not one.startswith("data:")} == {path.as_uri()}


def test_every_figure_is_drawn(tab: Page, path: Path) -> None:
    tab.open(path)
    drawn = tab.evaluate(
        f"{SVGS}.map(svg => [svg.querySelector('title').textContent, svg.getBoundingClientRect()"
        ".height > 50, [...svg.querySelectorAll('path, rect, circle')].filter(shape =>"
        " shape.getBBox().width + shape.getBBox().height > 0).length])"
    )
    assert len(drawn) == len(list(path.parent.glob("*.svg"))) == 14
    for title, visible, shapes in drawn:
        assert visible, title
        assert shapes >= 2, title


def test_a_figure_saved_by_itself_is_drawn_too(tab: Page, path: Path) -> None:
    tab.complaints.clear()
    tab.open(path.with_name("score.svg"))
    colour = "getComputedStyle(document.querySelector('.line.orange')).stroke"
    assert tab.evaluate(colour) == "rgb(213, 94, 0)"
    assert tab.complaints == []


def test_the_lattice_turns_when_dragged_and_by_arrow_keys(tab: Page, path: Path) -> None:
    tab.open(path)
    x, y = tab.evaluate(MIDDLE)
    before = tab.evaluate(PIXELS)
    tab.drag((x, y), (x + 60, y + 20))
    dragged = tab.evaluate(PIXELS)
    assert dragged != before
    press = "new KeyboardEvent('keydown', {key: 'ArrowLeft'})"
    tab.evaluate(f"document.querySelector('canvas.lattice').dispatchEvent({press})")
    tab.settle()
    assert tab.evaluate(PIXELS) != dragged


def test_stage_colour_and_layers_choose_what_is_seen(tab: Page, path: Path) -> None:
    tab.open(path)
    seen = {tab.evaluate(PIXELS)}
    for choice in ("[name=by][value=strength]", "[name=by][value=activity]", "[name=stage]"):
        tab.evaluate(f"document.querySelector('{choice}').click()")
        tab.settle()
        seen.add(tab.evaluate(PIXELS))
    slider = "document.querySelector('[name=layers]')"
    tab.evaluate(f"{slider}.value = 1; {slider}.dispatchEvent(new Event('input'))")
    tab.settle()
    seen.add(tab.evaluate(PIXELS))
    assert len(seen) == 5
    assert tab.evaluate("document.querySelector('[name=by][value=cluster]').disabled")  # of stage 2


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_scrolling_sideways(tab: Page, path: Path, dark: bool) -> None:
    tab.open(path, 390, 844, dark)
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    beyond = (
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('svg') &&"
        " one.getBoundingClientRect().right > 391).map(one => one.outerHTML.slice(0, 80))"
    )
    assert tab.evaluate(beyond) == []
    smallest = tab.evaluate(
        f"Math.min(...{SVGS}.flatMap(svg => [...svg.querySelectorAll('text')].map(text =>"
        " parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width"
        " / svg.viewBox.baseVal.width)))"
    )
    assert smallest > 9  # pixels
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_text_stays_inside_its_figure(tab: Page, path: Path) -> None:
    tab.open(path)
    outside = tab.evaluate(
        f"{SVGS}.flatMap(svg => [...svg.querySelectorAll('text')].filter(text => {{"
        " const box = text.getBBox(), view = svg.viewBox.baseVal;"
        " return box.x < -1 || box.x + box.width > view.width + 1 || box.y < -1"
        " || box.y + box.height > view.height + 1 }).map(text => text.textContent))"
    )
    assert outside == []


def test_it_prints_in_ink_on_paper(tab: Page, path: Path) -> None:
    tab.open(path, dark=True)
    assert tab.pdf().startswith(b"%PDF")
    assert tab.evaluate("[...document.querySelectorAll('details')].every(one => one.open)")


def test_what_a_stranger_wrote_does_not_run(tab: Page, copy: Copy) -> None:
    files = copy()
    attack = "</script><script>pwned=1</script><img src=x onerror=pwned=1><b>"
    plan = json.loads(files.plan.read_text())
    for stage in plan["stages"]:
        stage["description"] = stage["plasticity_profile"] = attack
    plan["budget"]["source"] = attack
    files.plan.write_text(json.dumps(plan))
    told = events(files)
    for event in told:
        if event["event"] == "evaluation":
            event["samples"] = [[attack, attack, f"{attack} and more"]]
            event["metrics"] = {attack: 0.5, **event["metrics"]}
        if event["event"] == "spectrum":
            event["reason"] = attack
    told.append({"event": "failed", "stage": 2, "message": attack})
    rewrite(files, told)
    files.environment.write_text(json.dumps({attack: attack}))
    summary = json.loads(files.summary.read_text())
    files.summary.write_text(json.dumps({**summary, "status": "failed", "error": attack}))
    written, _ = page.write(files)
    tab.complaints.clear()
    tab.open(written)
    assert tab.evaluate("typeof pwned") == "undefined"
    assert tab.evaluate("document.querySelectorAll('img, main b').length") == 0
    assert tab.evaluate("document.body.innerText").count("<script>pwned=1") > 5
    assert tab.complaints == []
