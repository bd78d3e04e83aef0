"""How celltrain is called from where it runs: hints are copied, so they must work as printed."""

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "celltrain"
PACKAGE = Path(__file__).resolve().parent


def command(*words: object) -> str:
    """`celltrain WORDS` for the shell, with the name that reaches this celltrain."""
    return " ".join([called(), *(shlex.quote(str(word)) for word in words)])


def pip_install(requirement: str) -> str:
    """How to install something beside this celltrain."""
    return f"{python()} -m pip install {shlex.quote(requirement)}"


def called() -> str:
    """celltrain where the PATH leads to the one that runs; else its path, or `python -m`."""
    started = Path(sys.argv[0] or ".")
    if started.name == "__main__.py" and started.resolve().parent == PACKAGE:
        return f"{python()} -m cell_train"
    beside = Path(sys.executable).with_name(NAME)  # where another program has imported it
    script = started if started.name == NAME else beside
    on_path = shutil.which(NAME)
    if not script.is_file():
        return NAME if on_path else f"{python()} -m cell_train"
    return NAME if on_path and os.path.samefile(on_path, script) else _path(script)


def python() -> str:
    """The Python that runs celltrain: by its name where the PATH leads to it, else by its path."""
    path = Path(sys.executable)
    on_path = shutil.which(path.name)  # not resolved: an environment's Python is a link to another
    return path.name if on_path and Path(on_path).absolute() == path else _path(path)


def _path(path: Path) -> str:
    """As one would type it here."""
    path = path.absolute()
    short = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    return shlex.quote(short if os.sep in short else f".{os.sep}{short}")
