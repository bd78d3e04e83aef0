"""All randomness of a run, derived from what it is for instead of drawn from a stream.

Nothing has to be saved to resume: the same (seed, stage, purpose, ...) gives the same numbers.
"""

import hashlib

import torch


def derive(*parts: int | str) -> int:
    """A 63-bit seed from the parts that name what it is for."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(*parts))
