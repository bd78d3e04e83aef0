"""Paired contrasts of arms over seeds: intervals, corrected p-values, a table and a figure."""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from cell_train.report import page
from cell_train.report.figures import svg
from scripts.benchmarks.common import Result

Records = Mapping[tuple[str, int], Mapping[str, Any]]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Contrast:
    """What `arm` has more than `base`, in one metric, over seeds that both were run with."""

    base: str
    arm: str
    metric: str
    mean: float  # of the arm itself
    base_mean: float
    differences: list[float]
    interval: tuple[float, float]  # bootstrapped, 95 %
    p_value: float  # of the sign-flip test, two-sided
    holm: float  # the same corrected over the arms

    @property
    def difference(self) -> float:
        return statistics.fmean(self.differences)


def paired(records: Records, arms: Sequence[str], metrics: Sequence[str]) -> list[Contrast]:
    """Every metric's contrast of the first of `arms` with each of the others."""
    first, *others = arms
    seeds = sorted({seed for _, seed in records})
    found = []
    for metric in metrics:
        rows = []
        for arm in others:
            pairs = [
                (records[first, seed][metric], records[arm, seed][metric])
                for seed in seeds
                if all(records.get((one, seed), {}).get(metric) is not None for one in (first, arm))
            ]
            if len(pairs) > 1:
                means = [statistics.fmean(values) for values in zip(*pairs, strict=True)]
                rows.append((arm, means, [b - a for a, b in pairs]))
        p_values = [sign_flip(differences) for *_, differences in rows]
        found += [
            Contrast(
                first, arm, metric, mean, base, differences, bootstrap(differences), p, corrected
            )
            for (arm, (base, mean), differences), p, corrected in zip(
                rows, p_values, holm(p_values), strict=True
            )
        ]
    return found


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values`."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(resamples))
    return means[round(0.025 * resamples)], means[round(0.975 * resamples) - 1]


def sign_flip(values: Sequence[float]) -> float:
    """How often a mean as far from 0 comes of flipping signs: all flips, or RESAMPLES of many."""
    seen = abs(sum(values)) * (1 - 1e-12)
    draw = random.Random(0)
    flips = (
        list(product((1, -1), repeat=len(values)))
        if 2 ** len(values) <= RESAMPLES
        else [(1,) * len(values), *(draw.choices((1, -1), k=len(values)) for _ in range(RESAMPLES))]
    )
    as_far = sum(
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= seen for signs in flips
    )
    return as_far / len(flips)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for as many tests (Holm 1979), in their order."""
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(worst, 1.0)
    return corrected


def table(contrasts: Sequence[Contrast]) -> str:
    """A Markdown table a metric."""
    lines = []
    for metric in dict.fromkeys(one.metric for one in contrasts):
        first = next(one for one in contrasts if one.metric == metric)
        lines += ["", f"| {metric} | mean | less {first.base} | 95 % interval | p (Holm) | pairs |"]
        lines.append("|---|---:|---:|---:|---:|---:|")
        lines.append(f"| {first.base} | {first.base_mean:.3f} | | | | |")
        lines += [
            f"| {one.arm} | {one.mean:.3f} | {one.difference:+.3f}"
            f" | {one.interval[0]:+.3f} to {one.interval[1]:+.3f} | {one.holm:.3f}"
            f" | {len(one.differences)} |"
            for one in contrasts
            if one.metric == metric
        ]
    return "\n".join(lines)


def results(contrasts: Sequence[Contrast]) -> list[Result]:
    """One a contrast, for the JSON line."""
    return [
        Result(
            f"{one.metric}: {one.arm} less {one.base}",
            one.difference,
            None,
            "higher",
            {
                "mean": one.mean,
                "interval_95": one.interval,
                "p": one.p_value,
                "holm": one.holm,
                "pairs": len(one.differences),
            },
        )
        for one in contrasts
    ]


def figure(contrasts: Sequence[Contrast], metric: str, title: str) -> str:
    """A row an arm: its interval as a bar, its seeds as dots, as an SVG that stands by itself."""
    rows = [one for one in contrasts if one.metric == metric]
    x = svg.linear([value for one in rows for value in (*one.differences, *one.interval)])
    bottom = 34
    frame = svg.Frame(svg.WIDE, 40 + 20 * len(rows) + bottom, x, svg.Axis(0, len(rows)), left=110)
    marks = [svg.scales(frame)]
    top, floor = frame.up(len(rows)), frame.up(0)
    marks.append(f'<path class="grid" d="M{frame.across(0):g} {top:g}V{floor:g}"/>')
    for index, one in enumerate(rows):
        y = len(rows) - index - 0.5
        marks.append(svg.text(frame.left - 6, frame.up(y) + 3.5, one.arm, "tick end"))
        marks += [svg.dot(frame, (value, y), "blue", 1.5) for value in one.differences]
        marks.append(svg.line(frame, [(end, y) for end in one.interval], "orange"))
        marks.append(svg.dot(frame, (one.difference, y), "orange", 3))
    said = "; ".join(f"{one.arm} {one.difference:+.3f}" for one in rows)
    return page.alone(svg.document(frame, title, said, *marks))
