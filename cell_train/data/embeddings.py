"""Embeddings made elsewhere, one row a text: read as numbers only, and mapped, not loaded.

A .npy file holds one array [texts, D]; .npz and .safetensors may hold `text` and, for pairs,
`reply`. Row i belongs to the i-th text of the data that is not empty, duplicates included.
"""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cell_train.errors import DataError

HEADER = 1 << 20  # bytes of a .safetensors header, at most
SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
ROWS = 1 << 14  # looked at together
Array = NDArray[Any]


@dataclass(frozen=True)
class Table:
    """A row for each text [N, D], and for its reply; the same array where there is none."""

    text: Array
    reply: Array


def open_table(path: str, paired: bool) -> Table:
    """The arrays of a file. Raises DataError where it is none, or lacks one that is needed."""
    read = _OPEN.get(Path(path).suffix)
    if read is None:
        raise DataError(f"{path}: text.embeddings takes {', '.join(_OPEN)} files")
    try:
        arrays = read(Path(path))
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check text.embeddings"
        raise DataError(f"{path}: {reason}") from error
    except Exception as error:  # numpy, zipfile and json raise whatever the bytes make them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: holds no arrays that can be read ({reason})") from error
    there = ", ".join(map(repr, arrays)) or "none"
    text = next(iter(arrays.values())) if len(arrays) == 1 else arrays.get("text")
    reply = arrays.get("reply") if paired else text
    if text is None or reply is None:
        missing = "reply" if text is not None else "text"
        raise DataError(f"{path}: holds no array {missing!r}, there are: {there}")
    return Table(text, reply)


def check(table: Table, path: str, texts: int, width: int) -> None:
    """Raise DataError unless there is a row of `width` finite numbers for each of `texts`."""
    for name, array in {"text": table.text, "reply": table.reply}.items():
        if array.ndim != 2 or array.dtype.kind != "f":
            raise DataError(
                f"{path}: {name!r} must be [texts, numbers] of floats, not"
                f" {list(array.shape)} of {array.dtype}"
            )
        if len(array) != texts:
            raise DataError(
                f"{path}: {len(array)} rows of {name!r}, but data.path holds {texts} texts (empty"
                " lines left out); there must be one row a text"
            )
        if array.shape[1] != width:
            raise DataError(
                f"{path}: {array.shape[1]} numbers a row, but text.embedding is {width};"
                f" set text.embedding={array.shape[1]}"
            )
        for first in range(0, texts, ROWS):
            wrong = ~np.isfinite(array[first : first + ROWS]).all(1)
            if wrong.any():
                row = first + int(wrong.argmax())
                raise DataError(f"{path}: row {row} of {name!r} holds a number that is not finite")


def _open_npy(path: Path) -> dict[str, Array]:
    return {"text": np.load(path, mmap_mode="r", allow_pickle=False)}


def _open_npz(path: Path) -> dict[str, Array]:
    """Each array mapped where it lies in the archive, which numpy writes uncompressed."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{part.filename} is compressed; write it by numpy.savez")
            with archive.open(part) as stream:
                shape, fortran, dtype = _npy_header(stream)
                inside = stream.tell()
            if fortran:
                raise ValueError(f"{part.filename} lies in Fortran order; store it in C order")
            with path.open("rb") as whole:
                whole.seek(part.header_offset + 26)
                lengths = int.from_bytes(whole.read(2), "little") + int.from_bytes(
                    whole.read(2), "little"
                )
            begin = part.header_offset + 30 + lengths + inside
            arrays[part.filename.removesuffix(".npy")] = _map(path, dtype, shape, begin)
    return arrays


def _npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    return npy.read_array_header_2_0(stream)


def _open_safetensors(path: Path) -> dict[str, Array]:
    """The format in full: a length, a JSON header, the numbers (huggingface/safetensors)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(stream.read(length))
    arrays = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] not in SAFE_TYPES:
            raise ValueError(f"{name!r} is {facts['dtype']}; store F32 or F16")
        begin = 8 + length + int(facts["data_offsets"][0])
        arrays[name] = _map(path, np.dtype(SAFE_TYPES[facts["dtype"]]), facts["shape"], begin)
    return arrays


def _map(path: Path, dtype: np.dtype[Any], shape: Any, begin: int) -> Array:
    """[shape] of a file's bytes from `begin` on; np.memmap refuses what lies beyond the end."""
    sizes = tuple(int(size) for size in shape)
    if dtype.hasobject or min(sizes, default=1) < 0 or begin < 0:
        raise ValueError(f"an array of {dtype} {sizes}")
    if begin + math.prod(sizes) * dtype.itemsize > path.stat().st_size:
        raise ValueError("it ends before its last number (truncated?)")
    if math.prod(sizes) == 0:
        return np.empty(sizes, dtype)
    return np.memmap(path, dtype, "r", begin, sizes)


_OPEN = {".npy": _open_npy, ".npz": _open_npz, ".safetensors": _open_safetensors}
