"""Ticks a second of a lattice that lives in a page, in a headless Chromium without a GPU."""

import tempfile
import time
from pathlib import Path

import psutil
import torch

from cell_train.play import page
from cell_train.report.run_data.story import Story
from cell_train.training.trained_model import TrainedModel
from scripts.benchmarks.common import Result, interleaved
from scripts.benchmarks.training import trainer
from scripts.browser import chromium

CELLS = (16, 16, 16)
WORDS = ("lattice.dimensions=[16,16,16]", "lattice.channels=16", "lattice.hidden=32")
SECONDS = 6.0
COUNT = """(async () => {
    const began = performance.now(), first = celltrain.ticks;
    await new Promise((done) => setTimeout(done, %d));
    return (celltrain.ticks - first) * 1000 / (performance.now() - began);
})()"""
ALONE = """(() => {
    const began = performance.now();
    for (let t = 0; t < 20; t++) celltrain.lattice.tick();
    return (performance.now() - began) / 20;
})()"""


def renderer_seconds() -> float:
    """CPU time of the process that runs the page: what it takes where nobody else computes."""
    ours = psutil.Process().children(recursive=True)
    times = [one.cpu_times() for one in ours if "--type=renderer" in one.cmdline()]
    return sum(time.user + time.system for time in times)


def play(rounds: int) -> list[Result]:
    """The page as a reader has it, drawing and decoding, as fast as it can; its rule alone, beside
    the compiled step on as many cells and one thread."""
    model = trainer(*WORDS, "dataset_limit=200").state.model
    trained = TrainedModel(5, Path("page"), (), model, torch.ones(*CELLS, 1, 1))
    story = Story("bench", "", "completed", None, [], "", "", [], None, [])
    target = Path(tempfile.mkdtemp(prefix="celltrain-bench-")) / "play.html"
    page.write(target, story, 5, trained.portable())
    cells = torch.randn(*CELLS, 1, 16)
    torch.set_num_threads(1)
    milliseconds: list[float] = []
    with chromium() as tab:
        tab.open(target)
        tab.evaluate(
            "(() => { const rate = document.querySelector('[name=rate]'); rate.value = rate.max;"
            " rate.dispatchEvent(new Event('input')); })()"
        )
        time.sleep(2)  # until the engine has compiled what is hot
        spent, first = renderer_seconds(), tab.evaluate("celltrain.ticks")
        living = tab.evaluate(COUNT % (1000 * SECONDS))
        ticks = tab.evaluate("celltrain.ticks") - first
        of_a_core = ticks / (renderer_seconds() - spent)
        tab.evaluate("document.querySelector('[name=run]').click()")
        tab.evaluate(ALONE)

        def script() -> None:
            milliseconds.append(tab.evaluate(ALONE))

        arms = {"script": script, "compiled": lambda: model.network.step(cells)}
        compiled = 1000 * interleaved(arms, rounds)["compiled"]
    alone = sorted(milliseconds)[len(milliseconds) // 2]
    parts = {"ticks_a_second_of_cpu_time": round(of_a_core, 1)}
    parts |= {"milliseconds_alone": round(alone, 2), "compiled_milliseconds": round(compiled, 2)}
    parts["times_compiled"] = round(alone / compiled, 1)
    parts["page_megabytes"] = round(target.stat().st_size / 1e6, 1)
    return [Result("play_ticks_a_second", living, 20, "higher", parts)]
