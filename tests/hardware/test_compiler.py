"""What keeps the step from being compiled is seen, and cured, without trying it."""

import io
import sys
from pathlib import Path

import pytest

from cell_train.console import plan_table
from cell_train.hardware import compiler
from cell_train.planning.cost import timing
from cell_train.planning.plan import Plan
from tests.conftest import MakePlan

linux_alone = pytest.mark.skipif(sys.platform != "linux", reason="nothing is compiled elsewhere")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a cache of its own and no compiler; the folder of its programs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path


def program(path: Path) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@linux_alone
def test_a_compiler_by_any_of_its_names_is_seen(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = compiler.slow_path()
    assert missing is not None
    assert "no C++ compiler" in missing.reason
    assert "apt-get install g++" in missing.cure
    monkeypatch.setenv("CXX", "ccache c++-14 -O2")
    named = compiler.slow_path()
    assert named is not None
    assert named.reason == "CXX=ccache c++-14 -O2 is no program"
    program(bare / "ccache")
    assert _anew() is None
    monkeypatch.delenv("CXX")
    program(bare / "clang++")
    assert _anew() is None


def printed(plan: Plan) -> str:
    stream = io.StringIO()
    plan_table.print_plan(plan, stream)
    return stream.getvalue()


def _anew() -> compiler.SlowPath | None:
    compiler._slow_path.cache_clear()
    return compiler.slow_path()


@linux_alone
def test_the_plan_says_that_the_path_is_slow_and_counts_with_it(
    bare: Path, make_plan: MakePlan
) -> None:
    slow = make_plan("1-5")
    program(bare / "g++")
    compiler._slow_path.cache_clear()
    quick = make_plan("1-5")
    said = printed(slow)
    assert said.count("warning: all stages: the step runs in plain torch, 12 to 20 times") == 1
    assert "plain torch" not in printed(quick)
    pairs = zip(slow.stages, quick.stages, strict=True)
    ratios = [one.seconds / other.seconds for one, other in pairs]
    assert all(1.2 < ratio < timing.shipped()["plain"] for ratio in ratios)
    assert ratios[4] > ratios[0]  # the larger the lattice, the more of a step it is
