"""A worker that speaks the events and trains nothing.

FAKE_WORKER in the environment is a JSON object of stage number -> what to do at its first step:
`die` (SIGKILL itself), `exit`, `hang` (deaf to signals), `silent` (so, but once), `slow` (steps of
0.1 s), `wait` (until there is a file `go` in the stage's folder), `memory` (report running out of
it until segments and micro-batch are `enough`), `fail` (report a DeadStart).
"""

import hashlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cell_train.config import resolve

STEPS = 6


def main() -> None:
    path, descriptor = Path(sys.argv[1]), int(sys.argv[3])
    resolved = resolve.read(path)
    stage, execution = resolved.stage, resolved.execution
    number = stage.stage
    behaviour = json.loads(os.environ.get("FAKE_WORKER", "{}")).get(str(number), "")
    caught: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda got, _: caught.append(got))
    stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def say(kind: str, **fields: Any) -> None:
        said = {"event": kind, "time": round(time.time(), 3), "stage": number, **fields}
        stream.write(json.dumps(said) + "\n")
        stream.flush()

    checkpoint = path.parent / "checkpoints" / "step-000001.pt"
    resumed = checkpoint.exists()
    checkpoint.parent.mkdir(exist_ok=True)
    print(f"fake worker {os.getpid()} stage {number} resumed={resumed}", flush=True)
    say(
        "stage_start",
        dimensions=stage.lattice.dimensions,
        epochs=stage.epochs,
        steps=STEPS,
        started_from=resolved.start_from,
        grown_from=None,
        step=1 if resumed else 0,
    )
    for step in range(1, STEPS + 1):
        if step == 2 and not resumed:
            misbehave(behaviour, say)
        enough = execution.segment * stage.batch_size // execution.micro_batch
        if behaviour == "memory" and enough < 4:
            say("failed", error="OutOfMemory", message="the state of 9 ticks does not fit")
            sys.exit(4)
        if behaviour == "memory forever":
            say("failed", error="OutOfMemory", message="nothing fits")
            sys.exit(4)
        delay = 0.1 if behaviour in ("slow", "hang", "show") else 0.0
        if select.select([0], [], [], delay)[0]:  # stdin ended: the parent is gone
            sys.exit(1)
        say(
            "step",
            epoch=0,
            step=step,
            steps=STEPS,
            loss=1 / step,
            cosine=1 - 1 / step,
            cells_per_second=1.2e6,
            active=0.31,
            change=0.01,
            memory_bytes=400 << 20,
            seconds_left=float(STEPS - step),
        )
        save(checkpoint)
        while behaviour == "wait" and not (path.parent / "go").exists():
            if select.select([0], [], [], 0.02)[0]:
                sys.exit(1)
        if caught and behaviour != "hang":
            say("interrupted", signal=signal.Signals(caught[0]).name, checkpoint=str(checkpoint))
            sys.exit(128 + caught[0])
        while behaviour == "hang" or (behaviour == "silent" and not resumed):
            time.sleep(0.1)
        if behaviour == "show":
            time.sleep(1)
    if stage.clustering_enabled:
        say("clustering", epoch=0, clusters=5, unassigned=0.2, depth_information=0.1)
    metrics = {"bleu": 0.1 * number, "cosine": 0.9, "nearest_bleu": 0.2}
    sample = ["a [red] dog runs", "a [red] dog runs", "a [red] dog"]
    say("evaluation", epoch=stage.epochs - 1, step=STEPS, metrics=metrics, samples=[sample])
    say(
        "stage_end",
        status="completed",
        dimensions=stage.lattice.dimensions,
        connection_density=stage.lattice.connection_density,
        plasticity_profile=stage.plasticity_profile,
        epochs=stage.epochs,
        samples=execution.samples_per_epoch * stage.epochs,
        seconds=0.1,
        peak_bytes=123_456_789,
        loss=0.1,
        primary="bleu",
        metrics=metrics,
        clusters=5 if stage.clustering_enabled else None,
        clusterings=1 if stage.clustering_enabled else None,
        mean_abs_change=0.01 / number,
        checkpoint=str(checkpoint),
    )


def save(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"state")
    facts = {"format": 1, "bytes": 5, "sha256": hashlib.sha256(b"state").hexdigest()}
    checkpoint.with_suffix(".json").write_text(json.dumps(facts))


def misbehave(behaviour: str, say: Any) -> None:
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "exit":
        print("something the log should show", flush=True)
        sys.exit(7)
    if behaviour == "fail":
        say("failed", error="DeadStart", message="0.02 % of cells spike; lower activity_threshold")
        sys.exit(1)


if __name__ == "__main__":
    main()
