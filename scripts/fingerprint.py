"""The fingerprints of the newest checkpoint of every stage of a run.

    python scripts/fingerprint.py RUN

Two runs of the same command whose lines agree trained to the same bits: a change that is meant to
leave training as it is shows so, against the commit before it on the same machine.
"""

import argparse
from pathlib import Path

from cell_train.run_folder.paths import RunFiles
from cell_train.training import checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a line for each stage of a run.")
    parser.add_argument("run", type=Path)
    files = RunFiles(parser.parse_args().run)
    for folder in sorted(files.folder.glob("stage-*")):
        number = int(folder.name.removeprefix("stage-"))
        state, path, _ = checkpoint.newest(files.stage(number).checkpoints)
        if state is not None and path is not None:
            print(f"stage {number}  {path.name}  {checkpoint.fingerprint(state)[:16]}")


if __name__ == "__main__":
    main()
