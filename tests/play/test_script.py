"""The script of the page, held against the lattice and the text task that it stands for."""

import json
import string
from typing import Any

import pytest
import torch

import cell_train
from cell_train.config import resolve
from cell_train.data import tokenizer
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, IsotropicRule, RuleSize
from cell_train.model.kernels import select
from cell_train.model.network import Network
from cell_train.play import page
from cell_train.play.numbers import packed
from cell_train.run_folder.paths import RunFiles
from cell_train.training.trained_model import TrainedModel
from scripts import browser
from tests.data.test_tokenizer import TEXTS
from tests.play.conftest import LIBRARY, Evaluate
from tests.training.conftest import small, start
from tests.training.test_grow import PLAN, STAGE

TICKS = 64
EMULATED = (
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--enable-unsafe-swiftshader", "--use-angle=swiftshader"),
)
SENTENCE = "the young teacher sings , and two cats sleep ."
AWKWARD = (*TEXTS, SENTENCE, "", " \t\x1c", "Zyx's \u200cok\u200d", "ΟΔΟΣ İstanbul", "ok\u00a0犬a")


def numbers(network: Network, task: dict[str, Any] | None = None) -> str:
    """The numbers of a page whose lattice this is."""
    seen, weights = network.seen, network.rule.weights()._asdict()
    arrays = {"mask": seen.mask, "strength": seen.strength, **weights}
    return packed(
        {
            "dimensions": list(seen.dimensions),
            "periodic": seen.periodic,
            "ticks": network.ticks,
            **vars(network.size),
            **{name: part.detach().numpy() for name, part in arrays.items()},
            "task": task or {"kind": "other"},
        }
    )


@pytest.mark.parametrize(
    ("dimensions", "size", "density", "periodic", "inhibition", "rule", "ticks"),
    [
        ((6, 5, 7), RuleSize(16, 32, 2), 1.0, False, False, CellRule, TICKS),
        ((5, 4, 3), RuleSize(5, 7, 3), 0.5, True, False, CellRule, TICKS),  # no multiple of 4
        # chaotic: a rounding grows a thousandfold in 64 ticks, whoever computes them
        ((4, 4, 4), RuleSize(4, 6, 1), 0.8, False, True, IsotropicRule, 16),
    ],
)
def test_cells_are_ours_tick_after_tick(
    evaluate: Evaluate,
    dimensions: lattice.Dimensions,
    size: RuleSize,
    density: float,
    periodic: bool,
    inhibition: bool,
    rule: type[CellRule],
    ticks: int,
) -> None:
    generator = torch.Generator().manual_seed(3)
    wiring = lattice.wire(
        dimensions, density=density, strengths=(0.5, 1.5), seed=1, periodic=periodic
    )
    shared = rule(size, generator)
    network = Network(wiring, shared, size, select.PLAIN, ticks=9, inhibition=inhibition)
    with torch.no_grad():
        for part in shared.parameters():
            part.add_(0.05 * torch.randn(part.shape, generator=generator))
    cells = torch.randn(*dimensions, 1, size.channels, generator=generator)
    begun = cells.flatten().tolist()
    for _ in range(ticks):
        cells = network.step(cells)
    found = evaluate(
        f"(() => {{ const one = Rule.lattice({numbers(network)}); one.cells.set({begun});"
        f" for (let t = 0; t < {ticks}; t++) one.tick(); return [...one.cells]; }})()"
    )
    assert cells.abs().mean() > 0.1  # it is alive
    torch.testing.assert_close(torch.tensor(found), cells.flatten(), rtol=0, atol=1e-4)


def test_a_sentence_crosses_as_it_does_here(evaluate: Evaluate, trained: TrainedModel) -> None:
    drive = trained.drive(trained.encode([SENTENCE]))
    network = trained.model.network
    cells, said = network.silence(1), []
    for tick in range(1, TICKS + 1):
        cells = trained.step(cells, drive)
        if tick in (network.ticks, TICKS):
            said.append(tokenizer.tokens(trained.decode(trained.read(cells))[0]))
    found = evaluate(
        f"(() => {{ const world = World.make({packed(trained.portable())}); const said = [];"
        f" world.send({json.dumps(SENTENCE)}); world.start();"
        f" for (let t = 1; t <= {TICKS}; t++) {{ world.step();"
        f" if (t === {network.ticks} || t === {TICKS}) said.push(world.words(world.read())); }}"
        " return [said, [...world.lattice.cells], world.cosine(world.read())]; })()"
    )
    assert found[0] == said
    torch.testing.assert_close(torch.tensor(found[1]), cells.flatten(), rtol=0, atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(trained.read(cells), trained.encode([SENTENCE]))
    assert found[2] == pytest.approx(float(cosine), abs=1e-5)


def test_silenced_cells_stay_at_zero_as_they_do_here(
    evaluate: Evaluate, trained: TrainedModel
) -> None:
    hurt = trained.lesion(0.25)
    drive = trained.drive(trained.encode([SENTENCE]))
    cells = trained.model.network.silence(1)
    for _ in range(TICKS):
        cells = hurt.step(cells, drive)
    silent = (hurt.awake.flatten() == 0).nonzero()[:, 0].tolist()
    found = evaluate(
        f"(() => {{ const world = World.make({packed(trained.portable())});"
        f" world.send({json.dumps(SENTENCE)}); world.start(); world.silence({silent});"
        f" for (let t = 0; t < {TICKS}; t++) world.step(); return [...world.lattice.cells]; }})()"
    )
    assert len(silent) == 16
    torch.testing.assert_close(torch.tensor(found), cells.flatten(), rtol=0, atol=1e-4)


def test_a_cut_changes_the_cells_and_they_come_back(
    evaluate: Evaluate, trained: TrainedModel
) -> None:
    how_far = evaluate(
        f"(() => {{ const world = World.make({packed(trained.portable())});"
        f" world.send({json.dumps(SENTENCE)}); world.start();"
        " const far = [], go = () => { for (let t = 0; t < 64; t++) world.step(); };"
        " for (const which of [() => world.half(), () => world.ball(.2), () => world.some(.3),"
        " () => world.around(21, 1.5)]) { world.start(); go(); const cells = which();"
        " world.cut(cells); far.push([cells.length, world.alike()]); go();"
        " far[far.length - 1].push(world.alike()); } return far; })()"
    )
    assert [count for count, _, _ in how_far][:2] == [32, 13]
    for _, cut, healed in how_far:
        assert cut < 0.9
        assert healed > 0.999


def test_words_are_the_same_words(evaluate: Evaluate) -> None:
    texts = [*AWKWARD, string.printable]
    found = evaluate(f"{json.dumps(texts)}.map((text) => Text.tokens(text))")
    assert found == [tokenizer.tokens(text) for text in texts]
    again = evaluate(f"{json.dumps(found)}.map((words) => Text.join(words))")
    assert again == [tokenizer.join(words) for words in found]


def test_a_text_has_the_code_it_has_here(evaluate: Evaluate, trained: TrainedModel) -> None:
    texts = [*AWKWARD, "the " * 40]
    found = evaluate(
        f"(() => {{ const world = World.make({packed(trained.portable())});"
        f" return {json.dumps(texts)}.map((text) => [...world.task.encode(text)]); }})()"
    )
    torch.testing.assert_close(torch.tensor(found), trained.encode(texts), rtol=0, atol=1e-5)


def test_a_shape_grows_as_it_does_here(
    evaluate: Evaluate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = RunFiles(tmp_path_factory.mktemp("grow")).stage(3)
    files.folder.mkdir()
    changed = {"lattice": {**STAGE["lattice"], "update_probability": 1.0}}
    resolved = small(files.folder / "none.txt", execution=PLAN, epochs=1, **(STAGE | changed))
    files.resolved.write_text(resolve.write(resolved))
    start(resolved, files.folder)[0].run()
    trained = cell_train.load(files.folder.parent)
    task, portable = trained.model.task, trained.portable()
    # what is not alive is cleared before it counts
    portable["task"]["seed"] = portable["task"]["seed"].copy()
    portable["task"]["seed"][0, 0, 0, 4:] = 1
    cells = torch.from_numpy(portable["task"]["seed"])[:, :, :, None]
    for tick in range(TICKS):
        cells = trained.step(cells, cells.new_empty(0), tick)
    found = evaluate(
        f"(() => {{ const world = World.make({packed(portable)});"
        f" for (let t = 0; t < {TICKS}; t++) world.step();"
        " return [[...world.lattice.cells], world.score(null)]; })()"
    )
    assert float((cells != 0).float().mean()) > 0.01  # it is alive
    torch.testing.assert_close(torch.tensor(found[0]), cells.flatten(), rtol=0, atol=1e-4)
    assert found[1] == pytest.approx(float(task.overlap(task.read(cells))))


def test_so_many_cells_take_part_in_a_tick(evaluate: Evaluate) -> None:
    size = RuleSize(4, 6, 1)
    wiring = lattice.wire((12, 12, 12), density=0.5, strengths=(0.5, 1.5), seed=1)
    rule = CellRule(size, torch.Generator().manual_seed(0))
    network = Network(wiring, rule, size, select.PLAIN, ticks=9)
    found = evaluate(
        f"(() => {{ const world = World.make({{...{numbers(network)}, update_probability: 0.25}});"
        " const { cells, N, C } = world.lattice, before = cells.slice(); world.step();"
        " let moved = 0; for (let i = 0; i < N; i++) moved += cells[i * C] !== before[i * C];"
        " return moved / N; })()"
    )
    assert found == pytest.approx(0.25, abs=0.04)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """One with word vectors of its own, and several beams."""
    files = RunFiles(tmp_path_factory.mktemp("learned")).stage(3)
    files.folder.mkdir()
    text = {"encoder": "learned", "beam": 3}
    resolved = small(files.folder / "text.txt", objective="text", text=text, epochs=2)
    files.resolved.write_text(resolve.write(resolved))
    start(resolved, files.folder)[0].run()
    return cell_train.load(files.folder.parent)


def test_the_decoder_says_what_it_says_here(evaluate: Evaluate, learned: TrainedModel) -> None:
    """For codes that are no sentence's, too."""
    codes = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    codes = torch.cat((codes, learned.encode([SENTENCE, "two old cats"])))
    found = evaluate(
        f"(() => {{ const {{ task }} = World.make({packed(learned.portable())});"
        f" return {json.dumps(codes.tolist())}.map((y) => Text.join(task.decode(y)))"
        f".concat([[...task.encode({json.dumps(SENTENCE)})]]); }})()"
    )
    assert found[:-1] == learned.decode(codes)
    assert len(set(found[:-1])) > 4
    torch.testing.assert_close(
        torch.tensor(found[-1]), learned.encode([SENTENCE])[0], rtol=0, atol=1e-5
    )


def test_a_graphics_processor_gives_the_same_cells(trained: TrainedModel) -> None:
    """One that Chromium emulates: what is held here is the program, not the speed."""
    if browser.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    library = "\n".join((page.PARTS / name).read_text() for name in (*LIBRARY, "gpu.js"))
    with browser.chromium(*EMULATED, patience=180) as tab:
        tab.open(page.PARTS / "play.css")  # a file: an origin that may use it
        found = tab.evaluate(
            f"(async () => {{ {library}\nconst numbers = {packed(trained.portable())};"
            " const [one, other] = [World.make(numbers), World.make(numbers)];"
            " const ticker = await Gpu.make(numbers, one.lattice); if (!ticker) return null;"
            f" for (const world of [one, other]) {{ world.send({json.dumps(SENTENCE)});"
            " world.start(); world.silence(world.ball(.1)); }"
            " for (let t = 0; t < 4; t++) { await one.stepOn(ticker); other.step(); }"
            " return [[...one.lattice.cells], [...other.lattice.cells], Gpu.there()]; })()"
        )
    if found is None:
        pytest.skip("this Chromium emulates no graphics processor")
    cells = torch.tensor(found[0])
    assert cells.abs().mean() > 0.1
    torch.testing.assert_close(cells, torch.tensor(found[1]), rtol=0, atol=1e-4)
    assert found[2] is False  # one that is emulated is not asked for by a page
