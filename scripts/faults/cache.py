"""A cache folder apart from the user's, so that toy runs teach their plans nothing."""

from pathlib import Path

from cell_train.storage import cache_folder


def apart(folder: Path) -> str:
    """What XDG_CACHE_HOME is to be: `folder`, which shares the compiled steps alone."""
    steps, own = cache_folder() / "steps", folder / "celltrain"
    steps.mkdir(parents=True, exist_ok=True)
    own.mkdir()
    (own / "steps").symlink_to(steps)
    return str(folder)
