"""Steps of a long run thinned as they age, so that its files stay small.

Where a file grows beyond MOST, of the steps in its older half every second one goes; all other
events stay, and so does all that is recent. What a week of steps wrote is then some tens of MiB.
"""

import os
from pathlib import Path

from cell_train.storage import open_plain, write_atomically

MOST = 32 << 20  # bytes of a file of events
STEP = b'"event": "step"'
START = 40  # bytes of a line, in which its kind stands


def is_due(path: Path) -> bool:
    """Whether a file of events has grown too large."""
    try:
        return path.lstat().st_size > MOST
    except OSError:
        return False


def thin(path: Path) -> None:
    """Thin the older half of a file of events; it is replaced as a whole.

    Raises OSError as the file system does; the file is then as it was.
    """
    with open_plain(path) as old:
        half = os.fstat(old.fileno()).st_size // 2

        def write(new: object) -> None:
            steps = 0
            while line := old.readline():
                step = STEP in line[:START]
                steps += step
                if not step or steps % 2 or old.tell() > half:
                    new.write(line)  # type: ignore[attr-defined]

        write_atomically(path, write)
