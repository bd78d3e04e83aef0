"""A worker that has trained already: it tells what a shared run's worker told, in a moment.

SHARED_RUN in the environment is that run's folder. Checkpoints are its own, copied; so are all
figures. Planning, the run folder, display and summary are the command's own.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from cell_train.run_folder.paths import RunFiles, StageFiles

OF_THE_PARENT = ("stage_done", "retry", "log")


def main() -> None:
    """Called as the real worker is: resolved.yaml --events-fd N."""
    files = StageFiles(Path(sys.argv[1]).parent)
    shared = RunFiles(Path(os.environ["SHARED_RUN"]))
    number = int(files.folder.name.removeprefix("stage-"))
    source = shared.stage(number)
    shutil.copytree(source.checkpoints, files.checkpoints, dirs_exist_ok=True)
    with os.fdopen(int(sys.argv[3]), "w", encoding="utf-8") as stream:
        for line in shared.events.read_text().splitlines():
            event = json.loads(line)
            if event["stage"] == number and event["event"] not in OF_THE_PARENT:
                stream.write(line.replace(str(source.folder), str(files.folder)) + "\n")


if __name__ == "__main__":
    main()
