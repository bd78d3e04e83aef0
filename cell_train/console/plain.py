"""A run as plain lines, for logs and pipes."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from cell_train.console.event_text import once_text, step_text, told
from cell_train.events import Event, View

INTERVAL = 10.0  # seconds between plain lines


def plain(
    stages: Sequence[Mapping[str, Any]],
    stream: TextIO,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.monotonic,
    verbose: bool = False,
    hour: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
) -> View:
    """One line at intervals, and one for whatever happens once, each with the time of day."""
    budgets = {stage["stage"]: stage["budget_bytes"] for stage in stages}
    epochs = {stage["stage"]: stage["epochs"] for stage in stages}
    last = -interval  # when the latest step was shown

    def view(event: Event) -> None:
        nonlocal last
        number = event["stage"]
        text: str | None
        if event["event"] == "step":
            if clock() - last < interval:
                return
            last = clock()
            text = step_text(event, epochs.get(number), budgets.get(number))
        else:
            text = told(event, verbose) or once_text(event)
        if text:
            print(f"{hour()} stage {number}: {text}", file=stream, flush=True)

    return view
