"""The page's sections but the lattice: figures, numbers, sentences, configuration, environment.

Every function gives HTML, empty where the run has nothing for it, with all text escaped.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

from cell_train.report import prose
from cell_train.report.run_data.story import Story

MAX_QUOTES = 5


def section(heading: str, about: str, *parts: str) -> str:
    """A section with those of its parts that are not empty; empty without any."""
    if not any(parts):
        return ""
    return f'<section><h2>{heading}</h2><p class="about">{about}</p>{"".join(parts)}</section>'


def wide(drawn: Mapping[str, str], *names: str) -> str:
    """Those figures of these names that there are."""
    return _grid("figures", [drawn[name] for name in names if name in drawn])


def of_stages(drawn: Mapping[str, str], kind: str) -> str:
    """The small figures of a kind, one a stage."""
    return _grid("figures small", [svg for name, svg in drawn.items() if name.startswith(kind)])


def _grid(kind: str, svgs: Iterable[str]) -> str:
    shown = "".join(f"<figure>{svg}</figure>" for svg in svgs)
    return f'<div class="{kind}">{shown}</div>' if shown else ""


def learning(story: Story, drawn: Mapping[str, str]) -> str:
    return section(
        "Learning",
        "Stages lie side by side with equal widths, however long they took. Held-out samples"
        " are never trained on; within a stage some of them are asked, at its end all.",
        wide(drawn, "score", "cosine", "loss"),
        _numbers(story),
    )


def connections(drawn: Mapping[str, str]) -> str:
    return section(
        "Connections",
        "Strengths before a stage (line) and after it (filled). Plasticity is meant to calm from"
        " stage to stage, and cells neither to fall silent nor to fire all at once.",
        of_stages(drawn, "strengths-"),
        wide(drawn, "change", "active"),
    )


def structure(drawn: Mapping[str, str]) -> str:
    return section(
        "Structure",
        "Power of the mean-strength field by wavelength, in multiples of white noise. The grey band"
        " holds white noise at all wavelengths together in 95 of 100 lattices; dots outside it are"
        " orange. Growing smooths the field and leaves power in long waves: it is called periodic"
        " only if one wave also beats its shell and its lines (p ≤ 0.01).",
        of_stages(drawn, "spectrum-"),
    )


def resources(drawn: Mapping[str, str]) -> str:
    return section(
        "Memory and time",
        "What the plan said before the run, and what was measured.",
        wide(drawn, "memory", "time"),
    )


def _numbers(story: Story) -> str:
    """Every evaluation as a table, folded."""
    stages = [stage for stage in story.stages if stage.evaluations]
    if not stages:
        return ""
    metrics = list(dict.fromkeys(m for s in stages for e in s.evaluations for m in e.metrics))[:5]
    rows = [
        f"<tr><td>{stage.number}</td><td>{one.epoch + 1}</td>"
        + "".join(f"<td>{prose.fixed(one.metrics.get(metric))}</td>" for metric in metrics)
        + "</tr>"
        for stage in stages
        for one in stage.evaluations
    ]
    names = "".join(f"<th>{escape(prose.name(metric))}</th>" for metric in metrics)
    return (
        f"<details><summary>All {len(rows)} evaluations as numbers</summary><table><thead><tr>"
        f"<th>stage</th><th>epoch</th>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "</details>"
    )


def voices(story: Story) -> str:
    """What came back of the same sentences, stage by stage."""
    heard: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for stage in story.stages:
        for source, target, output in stage.samples:
            heard.setdefault((source, target), []).append((stage.number, output))
    if not heard:
        return ""
    quotes = []
    for (source, target), answers in list(heard.items())[:MAX_QUOTES]:
        asked = f"<small>{escape(source)}</small>" if source != target else ""
        lines = "".join(
            f'<li><span>stage {number}</span><div class="said">{_marked(target, output)}</div></li>'
            for number, output in answers
        )
        quotes.append(
            f'<blockquote><p class="target said">{asked}{escape(target)}</p><ol>{lines}</ol>'
            "</blockquote>"
        )
    return section(
        "What comes back",
        "Held-out samples (bold) went in; this is what the lattice said to them at"
        " each stage's end. Words that are not in place are"
        ' <span class="off">grey and underlined</span>.',
        f'<div class="voices">{"".join(quotes)}</div>',
    )


def _marked(target: str, output: str) -> str:
    """The output as HTML, words that do not belong marked."""
    wanted, said = target.lower().split(), output.split()
    if not said:
        return '<span class="off">(nothing)</span>'
    match = difflib.SequenceMatcher(None, wanted, [word.lower() for word in said], autojunk=False)
    parts = []
    for kind, _, _, first, last in match.get_opcodes():
        words_here = escape(" ".join(said[first:last]))
        if words_here:
            right = kind == "equal"
            parts.append(words_here if right else f'<span class="off">{words_here}</span>')
    return " ".join(parts)


def configuration(story: Story) -> str:
    """Every key with its value and source; stages in a row that agree are said together."""
    stages = [stage for stage in story.stages if stage.configuration]
    if not stages:
        return ""
    differing: list[str] = []
    common: list[str] = []
    for key in dict.fromkeys(key for stage in stages for key in stage.configuration):
        values = [(s.number, s.configuration.get(key, ("–", ""))) for s in stages]
        runs = [
            (found, [number for number, _ in group])
            for found, group in groupby(values, lambda one: one[1])
        ]
        rows = "".join(
            f"<dd>{_numbers_of(numbers) if len(runs) > 1 else ''}<code>{escape(value)}</code>"
            f" <small>{escape(source)}</small></dd>"
            for (value, source), numbers in runs
        )
        row = f"<div><dt>{escape(key)}</dt>{rows}</div>"
        alike = len({value for (value, _), _ in runs}) == 1  # perhaps from different files
        (common if alike else differing).append(row)
    return section(
        "Configuration",
        "Each value, and where it came from.",
        _keys(f"{len(differing)} keys that differ between stages", differing),
        _keys(f"{len(common)} keys alike in all stages", common),
    )


def _keys(summary: str, rows: Sequence[str]) -> str:
    keys = f'<dl class="keys">{"".join(rows)}</dl>'
    return f"<details><summary>{summary}</summary>{keys}</details>" if rows else ""


def _numbers_of(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"<small>{first if first == last else f'{first}–{last}'}:</small> "


def environment(story: Story) -> str:
    facts = [("device", story.device), ("memory profile", story.profile), *story.environment]
    stages = [stage for stage in story.stages if stage.backend]
    facts += [("lattice step", backend) for backend in {stage.backend or "" for stage in stages}]
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts if v)
    return section("Environment", "What it ran on.", f'<dl class="keys facts">{rows}</dl>')
