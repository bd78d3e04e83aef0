"""Lists and tables for people: `celltrain ls`, `compare` and `doctor`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from cell_train.formatting import duration, gib, printable

SECONDS_A_DAY = 86400
STANDARD = 80  # columns, where the longest key still leaves room for two values


def print_runs(runs: Sequence[Mapping[str, Any]], stream: TextIO = sys.stdout) -> None:
    """A line a run; its name comes last and whole, so that it can be copied."""
    cells = [("status", "stage", "best", "size", "age", "run")]
    cells += [
        (
            run["status"],
            f"{run['stage'] or '-'} of {run['stages'][-1]}",
            f"{run['metric']} {run['best']:.3f}" if run["metric"] else "-",
            gib(run["bytes"]),
            _age(run["age_seconds"]),
            run["run"],
        )
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    for *line, name in cells:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        print(printable("  ".join([*padded, name])), file=stream)


def print_comparison(found: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """The runs under letters, then what differs, then what came of it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    letters = [chr(ord("A") + index) for index in range(len(found["runs"]))]
    for letter, run in zip(letters, found["runs"], strict=True):
        print(printable(f"{letter}  {run['run']} ({run['status']})"), file=stream)
    console = Console(file=stream)
    for title, what in (("configuration", "key"), ("metrics", "metric")):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("stage", no_wrap=True)
        table.add_column(what, overflow="fold", no_wrap=console.width >= STANDARD)
        for letter in letters:
            table.add_column(letter, justify="right", overflow="fold")
        grouped = _grouped(found[title]) if what == "key" else _each(found[title])
        for stages, line in grouped:
            values = [_shown(line[what], value) for value in line["values"]]
            table.add_row(stages, Text(printable(line[what])), *map(Text, values))
        print(file=stream)
        if table.row_count:
            console.print(table)
        else:
            print(f"no difference in {title}", file=stream)


def print_examination(facts: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """What `doctor` found, what is wrong last."""
    for name, text in _examined(facts):
        print(printable(f"{name:<10}{text}"), file=stream)
    print(file=stream)
    for problem in facts["problems"]:
        mark = "✗" if problem["prevents"] else "!"
        print(printable(f"{mark} {problem['what']}\n  cure: {problem['cure']}"), file=stream)
    wrong = sum(problem["prevents"] for problem in facts["problems"])
    verdict = "Nothing keeps a run from succeeding here."
    print(f"{wrong} of these must be cured first." if wrong else verdict, file=stream)


def _examined(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    worker, gpus, cache, output = (facts[k] for k in ("worker", "gpus", "cache", "output"))
    yield "celltrain", f"{facts['celltrain']}, Python {facts['python']}, {facts['platform']}"
    packages = [f"{name} {version}" for name, version in facts["packages"].items() if version]
    for index in range(0, len(packages), 4):
        yield "" if index else "packages", "  ".join(packages[index : index + 4])
    wanted = "" if facts["load"] is None else f", {facts['load']:.1f} wanted in the last minute"
    yield "cores", f"{facts['cores_allowed']:g} of {facts['cores']} may be used{wanted}"
    allowed, total = facts["memory_allowed_bytes"], facts["memory_bytes"]
    limit = " (a cgroup's limit)" if allowed < 0.9 * facts["memory_free_bytes"] else ""
    yield "memory", f"{gib(allowed)} of {gib(total)} free to use{limit}"
    yield "NVML", gpus["why_none"] or f"driver {gpus['driver']}"
    for gpu in gpus["devices"]:
        yield "", f"{gpu['name']}, {gib(gpu['free_bytes'])} free, {gpu['uuid']}"
    if not worker["error"]:
        build = f"for CUDA {worker['cuda_build']}" if worker["cuda_build"] else "for CPUs"
        yield "torch", f"{worker['torch']} {build}, {worker['threads']} threads"
        for device in worker["devices"]:
            yield "", f"{device['name']}, {gib(device['memory_bytes'])}"
        yield "compiler", worker["compiler"] or "none found"
        for kernel in worker["kernels"]:
            size = "/".join(str(kernel[name]) for name in ("channels", "hidden", "kernels"))
            yield "step", f"{kernel['name']} for rules of {size} ({kernel['reason']})"
    yield "runs", f"{output['path']}, {gib(output['free_bytes'])} free"
    yield (
        "cache",
        f"{cache['path']}, {len(cache['files'])} files, {gib(sum(cache['files'].values()))}",
    )
    for name, value in facts["variables"].items():
        yield "variable", f"{name}={value}"


def _each(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(str(line["stage"]), line) for line in lines]


def _grouped(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """(stages, line): keys that differ in the same way in several stages are told once."""
    groups: dict[str, tuple[list[int], Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault(repr((line["key"], line["values"])), ([], line))[0].append(line["stage"])
    return [(_ranges(stages), line) for stages, line in groups.values()]


def _ranges(numbers: Sequence[int]) -> str:
    """1-3,5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()  # as a stage file has it
    if name.endswith("_bytes"):
        return gib(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(printable(value))


def _age(seconds: float) -> str:
    """Seconds for people; days where hours would be many."""
    if seconds < SECONDS_A_DAY:
        return duration(max(seconds, 0))
    return f"{seconds // SECONDS_A_DAY:.0f}d"
