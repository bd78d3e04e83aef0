"""A cache folder apart from the user's, so that toy runs teach their plans nothing."""

import contextlib
from pathlib import Path

from cell_train import cache


def cache_of(folder: Path) -> str:
    """What XDG_CACHE_HOME is to be: `folder`, which shares the compiled steps alone."""
    own = folder / "celltrain"
    own.mkdir(mode=0o700)
    with contextlib.suppress(OSError):  # a cache that will not do is not shared
        (own / "steps").symlink_to(cache.room("steps", make=True))
    return str(folder)
