"""The configuration, before anything is planned: `validate`, `show`, `why`, `init`, `schema`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cell_train import invocation
from cell_train.cli import complete, options
from cell_train.cli.begin import own_task

if TYPE_CHECKING:
    from cell_train.config.resolve import Resolution
    from cell_train.planning.request import Request

SCHEMA = "stage.schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA}\n"


def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]...", help="Stage files or folders of them."),
    ] = None,
    stages_dir: options.StagesDir = None,
    profiles: options.ProfilesFile = None,
    format: Annotated[
        Literal["text", "json", "github"],
        typer.Option(
            metavar="FORM", help="text, json for programs, github for annotations in its CI."
        ),
    ] = "text",
) -> None:
    """Report all that is wrong with stage files, with line and fix.

    Also with profiles and CELLTRAIN_... variables. Exit 2: something is wrong.

    \b
        celltrain validate stages/
        celltrain validate --format github stages/
    """
    from cell_train.cli import config_errors
    from cell_train.config import stage_file, validation
    from cell_train.console.output import print_json

    wanted = [*(files or ()), *([stages_dir] if stages_dir else ())]
    paths = [
        path
        for place in wanted or [stage_file.built_in_folder()]
        for path in (stage_file.paths(place) if place.is_dir() else [place])
    ]
    wrong = sorted(
        validation.check(paths, profiles, os.environ),
        key=lambda problem: (problem.place.name, problem.place.line, problem.place.column),
    )
    if format == "json":
        shown = [config_errors.as_json(problem) for problem in wrong]
        print_json({"schema": 1, "files": [str(path) for path in paths], "problems": shown})
    elif format == "github":
        for problem in wrong:
            typer.echo(config_errors.as_annotation(problem))
    else:
        config_errors.show(wrong, sys.stdout)
        typer.echo(f"{_count(len(paths), 'stage file')}, {_count(len(wrong), 'problem')}")
    raise typer.Exit(2 if wrong else 0)


def show(
    stage: Annotated[
        str | None,
        typer.Argument(
            metavar="[STAGE]",
            help="Its number. [default: all]",
            autocompletion=complete.stages,
        ),
    ] = None,
    overrides: options.Overrides = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Say behind each value where it is from.")
    ] = False,
    stages_dir: options.StagesDir = None,
    vram: options.Vram = None,
    profile: options.ProfileName = None,
    profiles: options.ProfilesFile = None,
) -> None:
    """Print a stage with every key filled in, as a stage file.

    \b
        celltrain show 3 --sources
    """
    from cell_train.config.reference import explain

    words = list(overrides or ())
    if stage is not None and "=" in stage:
        words.insert(0, stage)
        stage = None
    asked = options.request(
        stages=stage,
        overrides=words,
        stages_dir=stages_dir,
        vram=vram,
        profile=profile,
        profiles=profiles,
    )
    resolved = _resolved(asked)
    texts = [explain.as_yaml(one, sources) for one in resolved]
    typer.echo("---\n".join(texts), nl=False)


def why(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="Such as lattice.channels, or a section.",
            autocompletion=complete.keys,
        ),
    ],
    overrides: options.Overrides = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="N", help="Only this stage.", autocompletion=complete.stages),
    ] = None,
    stages_dir: options.StagesDir = None,
    vram: options.Vram = None,
    profile: options.ProfileName = None,
    profiles: options.ProfilesFile = None,
) -> None:
    """Say what a key means, what set it, and what that overrode.

    \b
        celltrain why lattice.channels
        celltrain why lattice.dimensions --stage 3 --vram 8
    """
    from cell_train.config.reference import explain

    named = explain.key_named(key)
    asked = options.request(
        stages=stage,
        overrides=overrides or (),
        stages_dir=stages_dir,
        vram=vram,
        profile=profile,
        profiles=profiles,
    )
    resolved = _resolved(asked)
    typer.echo(explain.why(named, resolved))


def _resolved(request: "Request") -> "list[Resolution]":
    from cell_train.planning.request import load, resolve_stages

    return resolve_stages(load(request)).stages


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where your stage files will be.")
    ] = Path("stages"),
    task: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="Write an example of a task of your own instead."),
    ] = None,
) -> None:
    """Copy the built-in stage files, to begin your own; or begin a task.

    Nothing that is there is overwritten. A schema beside them lets editors complete and check.

    \b
        celltrain init
        celltrain init --task my_task.py
    """
    if task is not None:
        own_task.write(task)
        return
    from cell_train.config import stage_file
    from cell_train.errors import ConfigError

    written, kept = [], []
    texts = {SCHEMA: _schema_text(None)}
    for path in stage_file.paths(stage_file.built_in_folder()):
        texts[path.name] = MODELINE + path.read_text(encoding="utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            try:
                with (folder / name).open("x", encoding="utf-8") as stream:
                    stream.write(text)
                written.append(name)
            except FileExistsError:
                kept.append(name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}).") from None
    if written:
        typer.echo(f"{folder}: wrote {', '.join(written)}")
    if kept:
        typer.echo(f"{folder}: left as they were: {', '.join(kept)}")
    typer.echo("Edit them, then")
    for words in (("validate",), ("plan", "--stages-dir"), ("run", "--stages-dir")):
        typer.echo(f"  {invocation.command(*words, folder)}")


def schema(profiles: options.ProfilesFile = None) -> None:
    """Print the JSON Schema of a stage file, for editors.

    \b
        celltrain schema > stage.schema.json
    """
    typer.echo(_schema_text(profiles), nl=False)


def _schema_text(own_profiles: Path | None) -> str:
    import json

    from cell_train.config import profiles
    from cell_train.config.reference import json_schema

    made = json_schema.make(profiles.load(own_profiles).plasticity)
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
