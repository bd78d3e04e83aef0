"""Before a run: `plan`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cell_train.cli import options
from cell_train.errors import EXIT_PENDING


def plan(
    overrides: options.Overrides = None,
    stages: options.Stages = None,
    stages_dir: options.StagesDir = None,
    start_from: options.StartFrom = None,
    vram: options.Vram = None,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    profile: options.ProfileName = None,
    profiles: options.ProfilesFile = None,
    grow: options.Grow = False,
    max_time: options.MaxTime = None,
    save: Annotated[
        Path | None,
        typer.Option("-o", "--save", metavar="FILE", help="Write a plan that run --plan runs."),
    ] = None,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="End with 10 unless --output holds it, done."),
    ] = False,
    output: options.Output = Path("runs"),
    json: options.Json = False,
) -> None:
    """Say what each stage is granted, and whether it fits.

    Nothing is run. Exit 3: a stage does not fit, and what would is named.

    \b
        celltrain plan --vram 16
        celltrain plan --profile fit --grow -o plan.json
    """
    from cell_train.planning import alternatives
    from cell_train.planning.request import load, make_plan, resolve_stages

    request = options.request(
        stages=stages,
        stages_dir=stages_dir,
        overrides=overrides or (),
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
        max_time=max_time,
        grow=grow,
        start_from=start_from,
    )
    loaded = load(request)
    made = make_plan(resolve_stages(loaded))
    record: dict[str, Any] = {}
    if json or save is not None or detailed_exitcode:
        from cell_train.planning import plan_file  # hashes files, which the table does without

        record = plan_file.record(made, loaded.written, start_from)
    if json:
        from cell_train.console import output as printing

        printing.print_json(record)
    else:
        from cell_train.console import plan_table

        plan_table.print_plan(made, notes=alternatives.larger(made, loaded.plan_without_table))
    alternatives.require_fit(made, loaded.plan_for)
    if save is not None:
        plan_file.write(save, record)
    if detailed_exitcode:
        from cell_train.run_folder import folder

        if not folder.is_done(record, output, options.note):
            raise typer.Exit(EXIT_PENDING)
