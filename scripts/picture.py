"""Draw what the live display showed at one moment of a run, as SVG, or one of its pages, as PNG.

python scripts/picture.py RUN docs/run.svg [--at 0.6]     # 0.6: of the last stage's steps
python scripts/picture.py RUN docs/report.png             # from its curves to its lattice
python scripts/picture.py RUN docs/play.png --alive       # its lattice, a tick after a cut
"""

import argparse
import io
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cell_train.console import live
from cell_train.run_folder.paths import RunFiles


def draw(run: RunFiles, at: float) -> Console:
    """The display after the events up to that share of the last stage."""
    plan = json.loads(run.plan.read_text())
    last = plan["stages"][-1]["stage"]
    picture = live.Picture({s["stage"]: {**s, "status": "pending"} for s in plan["stages"]})
    for line in run.events.read_text().splitlines():
        event = json.loads(line)
        live.advance(picture, event)
        here = event["stage"] == last and event["event"] == "step"
        if here and event["step"] >= at * event["steps"]:
            break
    console = Console(record=True, width=86, file=io.StringIO())
    console.print(Text("$ celltrain run --stages 1-5", "bold"))
    console.print(live.render(picture, console.width))
    return console


def photograph(run: RunFiles) -> bytes:
    """The middle of the report, curves to lattice, as a PNG; the report is written first."""
    from browser import chromium

    from cell_train.report import page

    path, _ = page.write(run)
    with chromium() as tab:
        tab.open(path, width=1100)
        top, bottom = tab.evaluate(
            "(() => { const at = name => document.querySelector(name).getBoundingClientRect();"
            " return [at('main section:nth-of-type(2)').top + scrollY,"
            " at('.viewer').bottom + scrollY] })()"
        )
        return tab.picture(x=0, y=top, width=1100, height=bottom - top + 16, scale=0.6)


def alive(run: RunFiles) -> bytes:
    """The page of `celltrain play`, a tick after the mouse has cut a hole, as a PNG."""
    from browser import chromium

    from cell_train.play import page
    from cell_train.report.run_data import reading
    from cell_train.training.trained_model import load

    trained = load(run.folder)
    portable = trained.portable()
    with tempfile.TemporaryDirectory() as folder, chromium() as tab:
        path = Path(folder) / "play.html"
        page.write(path, reading.read(run), trained.stage, portable)
        tab.open(path, width=1200)
        tab.evaluate(
            "(() => { globalThis.press = name => document.querySelector(`[name=${name}]`).click();"
            " press('run'); press('anew'); const brush = document.querySelector('[name=brush]');"
            " brush.value = brush.max;"
            f" for (let t = 0; t < {3 * portable['ticks']}; t++) press('tick'); }})()"
        )
        box = "document.querySelector('canvas.lattice').getBoundingClientRect()"
        x, y = tab.evaluate(f"[{box}.x + 0.55 * {box}.width, {box}.y + 0.6 * {box}.height]")
        tab.drag((x, y), (x, y))
        tab.evaluate("press('tick'); new Promise(done => setTimeout(done, 500))")
        bottom = tab.evaluate("document.querySelector('.bench').getBoundingClientRect().bottom")
        return tab.picture(x=0, y=0, width=1200, height=bottom + 16, scale=0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path, metavar="PICTURE.svg|PICTURE.png")
    parser.add_argument("--at", type=float, default=0.6)
    parser.add_argument("--alive", action="store_true", help="the page of `celltrain play`")
    arguments = parser.parse_args()
    run = RunFiles(arguments.run.absolute())
    if arguments.picture.suffix == ".png":
        arguments.picture.write_bytes(alive(run) if arguments.alive else photograph(run))
    else:
        console = draw(run, arguments.at)
        arguments.picture.write_text(console.export_svg(title="celltrain"))


if __name__ == "__main__":
    main()
