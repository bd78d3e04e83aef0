"""Install torch where it is missing, and say before what that downloads and how to choose.

    .venv/bin/python scripts/install_torch.py REQUIREMENT [INDEX]

INDEX is the address that PyTorch's install page gives for a build; without it pip's own settings
hold, whose torch for Linux is the CUDA build.
"""

import json
import subprocess
import sys

# torch 2.13.0 with all it needs, x86-64, 2026-11-29: wheels added up, and what they unpack to
CUDA = "the CUDA build: about 2.7 GB to download, 5.6 GB on disk"
CPU = "a build without CUDA: about 0.2 GB to download, 0.8 GB on disk"


def main(requirement: str, index: str = "") -> int:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    wanted = [requirement, *(["--index-url", index] if index else [])]
    asked = subprocess.run(
        [*pip, "--dry-run", "--quiet", "--report", "-", *wanted], capture_output=True, text=True
    )
    if asked.returncode:
        python = ".".join(map(str, sys.version_info[:2]))
        print(asked.stderr, file=sys.stderr)
        print(
            f"{requirement} cannot be had for Python {python} here; check the network, or choose:"
            " make TORCH=torch==VERSION (2.6 or newer), PYTHON=python3.11.",
            file=sys.stderr,
        )
        return 1
    found = {
        one["metadata"]["name"]: one["metadata"]["version"]
        for one in json.loads(asked.stdout)["install"]
    }
    if "torch" in found:
        cuda = "+cu" in found["torch"] or any(name.startswith("nvidia-") for name in found)
        print(f"torch {found['torch']} is {CUDA if cuda else CPU}.", flush=True)
        choice = "the CPU build takes a tenth" if cuda else "a GPU needs a CUDA build"
        how = "make TORCH_INDEX=ADDRESS, from PyTorch's install page"
        print(f"To choose ({choice}): {how}.", flush=True)
    return subprocess.run([*pip, *wanted]).returncode if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
