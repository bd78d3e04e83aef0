"""Everything celltrain raises on purpose, and the exit code each one ends with.

CelltrainError           1   a stage failed
├── ConfigError          2   usage or configuration: always says file, value and fix
│   └── DataError        2   the text cannot be trained on
├── BudgetError          3   nothing fits the memory or the time there is
├── OutOfMemory          4   memory ran out although the plan said it fits
├── CheckpointError      1   a checkpoint is missing, damaged or of another shape
├── DeadStart            1   no cell spikes: plasticity has nothing to act on
├── Diverged             1   loss, state or strengths stopped being finite
├── NotSaved             1   the disk is full or may not be written
├── Killed               1   a signal from outside ended the worker
├── Hung                 1   the worker was alive and silent, twice
└── GateMissed           1   a stage ended below what `advance_if` or `--require` asks
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

EXIT_PENDING = 10  # `plan --detailed-exitcode`: there is work to do
EXIT_TIMEOUT = 124
EXIT_INTERRUPTED = 130  # SIGINT
EXIT_TERMINATED = 143  # SIGTERM


class CelltrainError(Exception):
    """A failure a user can act on: one sentence that names the value and the fix."""

    exit_code = 1


@dataclass(frozen=True)
class Place:
    """Where something is written: in a file, or in a word of the command line or environment."""

    name: str  # the file's path, or what else holds it
    line: int = 0  # from 1; 0: no line of a file
    column: int = 0  # from 1
    text: str = ""  # the line or word as written

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration."""

    place: Place
    message: str  # the rule broken and the value, without a full stop
    fix: str = ""  # what to write instead, or the question what was meant
    key: str = ""  # the dotted key of a stage, where it is about one

    def __str__(self) -> str:
        said = f" ({self.fix})" if self.fix.endswith("?") else f"; {self.fix}" if self.fix else ""
        return f"{self.place}: {self.message}{said}."


class ConfigError(CelltrainError):
    """Wrong usage or configuration; `problems` are its parts where each has its place."""

    exit_code = 2

    def __init__(self, sentence: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(sentence)
        self.problems = problems


@contextmanager
def collecting() -> Iterator[list[Problem]]:
    """A list for problems; at the end all that are in it are raised as one ConfigError."""
    wrong: list[Problem] = []
    yield wrong
    if wrong:
        raise ConfigError("\n".join(map(str, wrong)), wrong)


class DataError(ConfigError):
    """The text file cannot be read, or holds too little to train on."""


class BudgetError(CelltrainError):
    """Nothing fits the memory, or the time, that is there."""

    exit_code = 3


class OutOfMemory(CelltrainError):
    """Memory ran out at run time."""

    exit_code = 4


class CheckpointError(CelltrainError):
    """A checkpoint is missing, truncated, altered or of another shape."""


class DeadStart(CelltrainError):
    """Too few cells spike for plasticity to act."""


class Diverged(CelltrainError):
    """Loss, state or strengths stopped being finite."""


class NotSaved(CelltrainError):
    """Results could not be written to the disk."""


class Killed(CelltrainError):
    """The worker was ended from outside."""


class Hung(CelltrainError):
    """The worker was alive but silent for longer than `training.watchdog`."""


class GateMissed(CelltrainError):
    """A stage ended below the metric its gate asks for."""


NO_MEMORY = (  # how libraries say it, in lower letters
    *("can't allocate memory", "defaultcpuallocator", "cannot allocate memory", "bad_alloc"),
    *("failed to map segment from shared object", "memoryerror"),
    "out of memory",  # as the CUDA driver says it, through torch or Triton
    "_alloc_failed",  # as cuBLAS, cuDNN, cuFFT and cuSOLVER do
    "_host_allocation_failed",
)


def starved(error: Exception) -> bool:
    """Whether it says that memory ran out, also while torch itself is loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return says_starved(str(error))


def says_starved(text: str) -> bool:
    return any(words in text.lower() for words in NO_MEMORY)


BY_NAME: dict[str, type[CelltrainError]] = {
    cls.__name__: cls
    for cls in (
        CelltrainError,
        ConfigError,
        DataError,
        BudgetError,
        OutOfMemory,
        CheckpointError,
        DeadStart,
        Diverged,
        NotSaved,
        Killed,
        Hung,
        GateMissed,
    )
}
"""Names as they cross the process border, so that the parent ends with the worker's code."""
