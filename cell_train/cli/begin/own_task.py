"""A task of the user's own: `check`."""

from pathlib import Path
from typing import Annotated

import typer

from cell_train.cli import options

SMALL = (  # enough to see what is wrong, in seconds
    *("lattice.dimensions=[5,5,5]", "lattice.channels=8", "lattice.hidden=8"),
    *("batch_size=4", "dataset_limit=64", "lattice.backend=plain"),
)
TEMPLATE = Path(__file__).parents[2] / "config" / "demos" / "my_task.txt"


def check(
    task: Annotated[str, typer.Argument(metavar="MODULE:TASK", help="Such as my_task:Task.")],
    overrides: options.Overrides = None,
) -> None:
    """Say what is wrong with a task of your own, before a stage runs.

    Shapes, metrics, gradients, what a checkpoint brings back, and whether all that is random
    comes from the seed. Exit 2: something is wrong.

    \b
        celltrain init --task my_task.py
        CELLTRAIN_TRUST=my_task celltrain check my_task:Task
    """
    from cell_train.planning.request import load, make_plan, resolve_stages
    from cell_train.training.inspection import task_check  # torch comes with it

    request = options.request(
        stages="1", overrides=[*SMALL, *(overrides or ()), f"task={task}"], device="cpu"
    )
    (resolved,) = make_plan(resolve_stages(load(request))).resolved()
    wrong = task_check.check(resolved)
    for sentence in wrong:
        typer.echo(f"{task}: {sentence}", err=True)
    if not wrong:
        typer.echo(f"{task}: nothing is wrong with it")
    raise typer.Exit(2 if wrong else 0)


def write(path: Path) -> None:
    """Write a working example to begin from. Raises ConfigError where it cannot be."""
    from cell_train.errors import ConfigError

    name = path.stem
    if path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(
            f"--task {path}: is written as a module; call it for instance my_task.py."
        )
    text = TEMPLATE.read_text(encoding="utf-8").replace("MODULE", name)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
        typer.echo(f"{path}: wrote a task that works. In its folder:")
    except FileExistsError:
        typer.echo(f"{path}: left as it was. In its folder:")
    except OSError as error:
        raise ConfigError(f"--task {path}: cannot be written ({error.strerror}).") from None
    typer.echo(f"  CELLTRAIN_TRUST={name} celltrain check {name}:Task")
    run = f"celltrain run --stages 1 task={name}:Task lattice.rule=growing"
    typer.echo(f"  CELLTRAIN_TRUST={name} {run}")
