"""Staying with one worker until it ends: events, signals, the time limit, a pause."""

import contextlib
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

from cell_train import events, lived, streams
from cell_train.events import Event
from cell_train.hardware.memory import oom_kills
from cell_train.workers.launch import Worker

GRACE = 8.0  # seconds a worker has to finish its step and save: a signal ends a run within 10
PATIENCE = 0.2  # seconds between looks at the clock
STACK_DUMP = 1.0  # seconds a silent worker has to write where it stands to its log


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Interruption:
    """A signal to stop or the time limit during a run: what came, and whom to tell.

    The first is passed to the worker, which finishes its step and saves; a second kills it.
    """

    signal: int | None = None
    since: float = 0.0  # by the clock of lived time
    timed_out: bool = False
    worker: Worker | None = None
    came: "queue.SimpleQueue[int | None]" = field(default_factory=queue.SimpleQueue)

    def take(self, number: int, _: FrameType | None = None) -> None:
        """Pass a signal on, or kill if one was passed on before."""
        streams.hurry()
        if self.signal is not None:
            if self.worker is not None:
                kill(self.worker)
            return
        self.signal, self.since = number, lived.seconds()
        self.came.put(number)
        if self.worker is not None:
            self.pass_on(self.worker)

    def pass_on(self, worker: Worker) -> None:
        """Ask the worker to stop: it knows SIGINT, and SIGTERM for all else."""
        with contextlib.suppress(ProcessLookupError):
            asked = signal.SIGINT if self.signal == signal.SIGINT else signal.SIGTERM
            worker.process.send_signal(asked)

    def suspend(self, number: int, _: FrameType | None = None) -> None:
        """Ctrl-Z: the worker, which has no terminal, is to rest as its parent does."""
        worker = self.worker
        if worker is not None:
            _tell_all(worker, signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)  # here the process stands still
        signal.signal(number, self.suspend)
        if worker is not None:
            _tell_all(worker, signal.SIGCONT)


@dataclass(frozen=True)
class Ending:
    """How a worker ended."""

    code: int  # negative: the signal that ended it
    result: Event | None  # its stage_end
    failure: Event | None  # its `failed`
    stopped: Event | None  # its `interrupted`
    killed_for_memory: bool
    hung: bool = False  # ended for its silence

    @property
    def complete(self) -> bool:
        return self.code == 0 and self.result is not None

    @property
    def out_of_memory(self) -> bool:
        said = self.failure is not None and self.failure.get("error") == "OutOfMemory"
        return said or self.killed_for_memory


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Take signals to stop, and Ctrl-Z, for the time of a run; what was there before comes back.

    One that is ignored stays so: of a run begun by nohup no terminal takes leave.
    """
    interruption = Interruption()
    takes = {**dict.fromkeys(STOPS, interruption.take), signal.SIGTSTP: interruption.suspend}
    before = {
        number: signal.signal(number, take)
        for number, take in takes.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attend(
    worker: Worker,
    interruption: Interruption,
    deadline: float | None,
    on_event: Callable[[Event], None],
    silence: float,
) -> Ending:
    """Read a worker's events until it ends, or end it after `silence` seconds without any.

    `deadline` is on the clock of lived time, as silence is.
    """
    kills = oom_kills()
    interruption.worker = worker
    if interruption.signal is not None:  # it came while the worker was being started
        interruption.pass_on(worker)
    last: dict[str, Event] = {}
    watch = _Watch(interruption, deadline, silence)
    try:
        for event in _read(worker, watch):
            if events.sound(event):
                last[event["event"]] = event
            on_event(event)
        code = worker.process.wait()
    finally:
        interruption.worker = None
        kill(worker)
    ours = interruption.signal is not None
    known = kills is not None and (oom_kills() or 0) > kills
    killed = code == -signal.SIGKILL and not ours and known
    return Ending(
        code,
        last.get("stage_end"),
        last.get("failed"),
        last.get("interrupted"),
        killed_for_memory=killed and not watch.hung,
        hung=watch.hung,
    )


def _tell_all(worker: Worker, number: int) -> None:
    """Send a signal to a worker and whatever it started: compilers run in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, number)


def kill(worker: Worker) -> None:
    """End a worker and whatever it started."""
    _tell_all(worker, signal.SIGKILL)
    if worker.process.stdin is not None:
        worker.process.stdin.close()


@dataclass
class _Watch:
    """What may end a worker from here."""

    interruption: Interruption
    deadline: float | None
    silence: float
    heard: float = field(default_factory=lived.seconds)
    hung: bool = False

    def look(self, worker: Worker) -> None:
        """Act on the clock."""
        now, interruption = lived.seconds(), self.interruption
        if interruption.signal is None and self.deadline is not None and now >= self.deadline:
            interruption.timed_out = True
            interruption.take(signal.SIGTERM)
        if interruption.signal is not None:
            if now - interruption.since > GRACE:
                kill(worker)
        elif not self.hung and now - self.heard > self.silence:
            self.hung = True
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGUSR1)  # it writes its stacks to its log
            time.sleep(STACK_DUMP)
            kill(worker)


def _read(worker: Worker, watch: _Watch) -> Iterator[Event]:
    """Events as they come, until the pipe ends or the worker is gone."""
    rest = b""
    try:
        while True:
            ready, _, _ = select.select([worker.events], [], [], PATIENCE)
            if ready:
                chunk = os.read(worker.events, 1 << 16)
                if not chunk:
                    return
                watch.heard = lived.seconds()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = events.parse(line.decode(errors="replace"))
                    if event is not None:
                        yield event
            elif worker.process.poll() is not None:
                return  # a child of the worker may hold the pipe open
            watch.look(worker)
    finally:
        os.close(worker.events)
