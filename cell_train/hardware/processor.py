"""The vectors this machine's processor computes with."""

from pathlib import Path


def instruction_set(root: Path = Path("/")) -> str:
    """What the rates of a processor are listed under in rates.yaml: avx512, avx2 or other."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "other"
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags and "fma" in flags else "other"
