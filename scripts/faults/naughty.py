"""The text task with accidents in it, told by NAUGHTY in the environment (a JSON object):

`nan`: the calls of `score` that give NaN, `always_nan`; `hang`: the call that never returns, in
the way `how` (sleep, spin, stop), once if the file `once` can be made; `limit_mib`: what the
process may still allocate once training starts; `watch`: the file that figures of memory and
speed are written to, one JSON object for every `every` calls.
"""

import ctypes
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from cell_train.tasks.base import Batch, TaskContext
from cell_train.tasks.text.task import TextTask


class _Mallinfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    )


class Naughty(TextTask):
    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self.orders: dict[str, Any] = json.loads(os.environ.get("NAUGHTY", "{}"))
        self.calls, self.began = 0, time.perf_counter()

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        orders, call = self.orders, self.calls
        self.calls += 1
        if call == 0 and "limit_mib" in orders:
            _limit(orders["limit_mib"] << 20)
        if call == orders.get("hang") and self._first_time():
            _hang(orders["how"])
        if "watch" in orders and call % orders["every"] == 0:
            self._watch(Path(orders["watch"]), call)
        loss, metrics = super().score(y, batch)
        if call in orders.get("nan", ()) or orders.get("always_nan"):
            loss = loss * float("nan")
        return loss, metrics

    def _first_time(self) -> bool:
        if "once" not in self.orders:
            return True
        try:
            Path(self.orders["once"]).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _watch(self, path: Path, call: int) -> None:
        now = time.perf_counter()
        passed = now - self.began
        reference = _reference_kernel()
        process = psutil.Process()
        record = {
            "time": time.time(),
            "call": call,
            "seconds": passed,  # for the calls since the record before
            "reference": reference,
            "live": _live_bytes(),
            "resident": process.memory_info().rss,
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            "python_threads": threading.active_count(),
        }
        with path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        self.began = time.perf_counter()


def _limit(room: int) -> None:
    """Leave no more than `room` bytes: of what malloc keeps in hand, and of new address space."""
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(room))
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now, now))


def _hang(how: str) -> None:
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        if how == "sleep":
            time.sleep(1)


def _live_bytes() -> int:
    """Bytes that malloc has given out and not got back."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def _reference_kernel() -> float:
    """Seconds for a fixed piece of work that has nothing to do with the lattice."""
    a = torch.ones(192, 192)
    began = time.perf_counter()
    for _ in range(20):
        a = torch.tanh(a @ a)
    return time.perf_counter() - began
