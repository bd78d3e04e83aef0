"""Before a run: `plan`."""

from cell_train.cli.options import (
    Device,
    Json,
    Overrides,
    ProfileName,
    ProfilesFile,
    Stages,
    StagesDir,
    Threads,
    Vram,
)


def plan(
    overrides: Overrides = None,
    stages: Stages = None,
    stages_dir: StagesDir = None,
    vram: Vram = None,
    device: Device = "auto",
    threads: Threads = 0,
    profile: ProfileName = None,
    profiles: ProfilesFile = None,
    json: Json = False,
) -> None:
    """Say what each stage would be granted, and whether it fits, before anything runs."""
    from cell_train.planning import plan as planning
    from cell_train.planning.request import Request, load, make_plan, resolve_stages
    from cell_train.run import report

    request = Request(
        stages=stages,
        stages_dir=stages_dir,
        overrides=tuple(overrides or ()),
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
    )
    loaded = load(request)
    made = make_plan(resolve_stages(loaded))
    if json:
        report.print_json(planning.as_json(made))
    else:
        report.print_plan(made)
    planning.require_fit(made, loaded.plan_for)
