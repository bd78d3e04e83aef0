"""What is proposed where nothing fits is true."""

import pytest

from cell_train.errors import BudgetError
from cell_train.hardware.probe import CUDA_CONTEXT, GIB
from cell_train.planning import alternatives, search
from cell_train.planning.plan import Plan
from tests.conftest import MakePlan


def refusal(make_plan: MakePlan, which: str, words: list[str], vram: float) -> str:
    plan = make_plan(which, words, vram=vram)
    with pytest.raises(BudgetError) as caught:
        alternatives.require_fit(plan, lambda gib: make_plan(which, words, vram=gib))
    return str(caught.value)


def test_the_smallest_budget_that_fits_is_true(make_plan: MakePlan) -> None:
    sentence = refusal(make_plan, "1-5", [], 0.1)
    assert sentence.startswith("stages 1, 2, 3, 4, 5 do not fit: stage 3 needs at least")
    smallest = float(sentence.rsplit("--vram ", 1)[1].split(";")[0].rstrip("."))
    assert make_plan(vram=smallest).fits
    assert not make_plan(vram=round(smallest - 0.1, 1)).fits


def test_the_smallest_budget_counts_with_its_own_profile(make_plan: MakePlan) -> None:
    """A lattice too wide for 8 GiB at 24 cubed, and wider still under the next profiles."""
    words = ["lattice.channels=2048"]
    plan = make_plan("5", words, vram=4)
    assert not plan.fits
    smallest = alternatives.smallest_budget(plan, lambda gib: make_plan("5", words, vram=gib))
    assert smallest is not None
    fitting = make_plan("5", words, vram=smallest)
    assert fitting.fits
    assert fitting.profile != plan.profile


@pytest.mark.parametrize(
    "words",
    [
        ["lattice.channels=64"],
        ["lattice.channels=64", "optimization.gradient_checkpointing=false"],
        ["lattice.channels=64", "optimization.batch_size_auto_scaling=false"],
        ["lattice.channels=64", "optimization.mixed_precision.enabled=false"],
    ],
)
def test_each_thing_said_to_fit_does(make_plan: MakePlan, words: list[str]) -> None:
    vram = too_little(make_plan, words)
    plan = make_plan("4", words, vram=vram)
    assert not plan.fits
    proposed = alternatives.what_fits(plan.stages[0].stage, plan.terms)
    assert proposed
    for one in proposed:
        assert make_plan("4", [*words, *one.split()], vram=vram).fits, one
    assert f"stage 4 fits with {' or with '.join(proposed)}" in refusal(make_plan, "4", words, vram)


def test_the_lattice_proposed_is_the_largest_of_its_shape(make_plan: MakePlan) -> None:
    words = ["lattice.channels=64"]
    vram = too_little(make_plan, words)
    plan = make_plan("4", words, vram=vram)
    proposed = alternatives.what_fits(plan.stages[0].stage, plan.terms)
    (sizes,) = [one for one in proposed if "dimensions" in one]
    side = int(sizes.rsplit(",", 1)[1].rstrip("]")) + 1
    larger = f"lattice.dimensions=[{side},{side},{side}]"  # as the 8gb row's cap is a cube
    assert not make_plan("4", [*words, larger], vram=vram).fits


def test_where_nothing_fits_only_memory_is_proposed(make_plan: MakePlan) -> None:
    vram = (CUDA_CONTEXT + (1 << 20)) / GIB
    plan = make_plan("4", vram=vram)
    assert alternatives.what_fits(plan.stages[0].stage, plan.terms) == []
    assert refusal(make_plan, "4", [], vram).rsplit("; ", 1)[1].startswith("the smallest budget")


def too_little(make_plan: MakePlan, words: list[str]) -> float:
    """GiB that fall short of what stage 4 takes at least under the 8gb row, by a tenth."""
    roomy = make_plan("4", words, vram=8)
    least = search.ladder(roomy.stages[0].stage, roomy.terms)[0].peak
    return (0.9 * least + CUDA_CONTEXT) / GIB


def test_a_table_that_holds_a_stage_back_is_told_with_what_would_fit(make_plan: MakePlan) -> None:
    said = alternatives.larger(make_plan(vram=12), lambda: make_plan(vram=12, profile="fit"))
    whole = make_plan("5", vram=12, profile="fit")
    share = whole.stages[0].footprint.total / whole.terms.room
    assert len(said) == 1
    assert said[0].startswith("profile 16gb caps stage 5 at 32×32×24 (")
    assert said[0].endswith(f"--profile fit takes it at 40×40×30 ({share:.0%} of the memory)")


def test_nothing_is_said_where_the_table_holds_nothing_back(make_plan: MakePlan) -> None:
    def never() -> Plan:
        raise AssertionError("no second plan is needed")

    assert alternatives.larger(make_plan(vram=24), never) == []
    assert alternatives.larger(make_plan(vram=12, profile="fit"), never) == []
    assert alternatives.larger(make_plan(), never) == []  # a CPU's table keeps runs short
