"""Building guard.cpp, which makes a torch without CUDA believe in one device of it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths

SOURCE = Path(__file__).with_name("guard.cpp")


def compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def environment() -> dict[str, str]:
    """What a process needs in its environment to see the device; builds it where it is not there.

    The build is kept with the system's temporary files: it depends on torch's version alone.
    """
    folder = Path(torch.__file__).parent / "lib"
    key = hashlib.sha256(SOURCE.read_bytes() + f"{torch.__version__} {folder}".encode())
    target = Path(tempfile.gettempdir()) / f"celltrain-guard-{key.hexdigest()[:16]}.so"
    if not target.exists():
        own = target.with_suffix(f".{os.getpid()}")
        flags = ("-std=c++20", "-O0", "-shared", "-fPIC", "-Wl,--no-as-needed")
        headers = [f"-isystem{path}" for path in include_paths()]
        command = [str(compiler()), *flags, *headers, str(SOURCE), "-o", str(own)]
        subprocess.run([*command, f"-L{folder}", "-ltorch_cpu", "-lc10"], check=True)
        own.replace(target)
    return {"LD_PRELOAD": str(target), "LD_LIBRARY_PATH": str(folder)}
