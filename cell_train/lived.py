"""Time that this process lived through.

A clock that goes on while a process is stopped (Ctrl-Z, `scontrol suspend`), frozen (`docker
pause`) or asleep with its machine makes silence, time limits and rates of what nobody could have
done anything in. A thread looks at the clock every half second; of a longer pause than `LONGEST`
between two looks the rest does not count.
"""

import threading
import time
from collections.abc import Callable

PAUSE = 0.5  # seconds between looks
LONGEST = 5.0  # a busy machine, or C code that holds the interpreter, may delay one by so much


class Clock:
    """Counts what is lived through, from looks that come often enough."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = (clock(), 0.0)  # when last looked, what was lived by then: replaced as one

    def look(self) -> None:
        """To be called every `PAUSE` seconds, by one thread."""
        now = self._clock()
        before, total = self._seen
        self._seen = (now, total + min(now - before, LONGEST))

    def seconds(self) -> float:
        """Seconds lived since the clock was made; for any thread, and for signal handlers."""
        before, total = self._seen
        return total + min(self._clock() - before, LONGEST)


_clock: list[Clock] = []


def seconds() -> float:
    """Seconds this process has lived since it first asked."""
    if not _clock:
        _clock.append(Clock())
        threading.Thread(target=_look, daemon=True).start()
    return _clock[0].seconds()


def _look() -> None:
    while True:
        time.sleep(PAUSE)
        _clock[0].look()
