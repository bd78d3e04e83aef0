"""What only a GPU can answer, in under eight minutes: run it first thing on a rented one.

    python scripts/gpu_check.py [--parts kernels,times,...] [--out FILE] [--dry]

Each part runs in a process of its own, so that one that fails takes nothing with it. The last line
is JSON: {"ok": .., "parts": {NAME: {"ok": .., "seconds": .., ...}}}; the exit code is 1 where a
part failed. Keep it under docs/measurements/. With --dry everything is tiny, training is on the
CPU, and the kernels are those of whatever device the process sees.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = {  # name: seconds it may take
    "environment": 60,
    "kernels": 150,
    "times": 60,
    "large": 60,
    "waits": 60,
    "plan": 120,
    "stages": 120,
    "kill": 120,
    "memory": 60,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    found = {name: part(name, arguments.dry) for name in arguments.parts.split(",")}
    report = {"ok": all(one["ok"] for one in found.values()), "dry": arguments.dry, "parts": found}
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 0 if report["ok"] else 1


def part(name: str, dry: bool) -> dict[str, Any]:
    """What a part says: the last line of its process."""
    began, limit = time.monotonic(), PARTS[name] * (5 if dry else 1)
    command = [sys.executable, "-m", "scripts.gpu_parts", name, *(["--dry"] if dry else [])]
    environment = os.environ | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
        )
        lines, error = done.stdout.splitlines(), done.stderr
    except subprocess.TimeoutExpired:
        lines, error = [], f"took more than {limit} s"
    seconds = {"seconds": round(time.monotonic() - began, 1)}
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        found = {"ok": False, "error": error.strip()[-2000:]}
    print(f"{name}: {'ok' if found['ok'] else 'FAILED'}", file=sys.stderr, flush=True)
    return found | seconds


if __name__ == "__main__":
    sys.exit(main())
