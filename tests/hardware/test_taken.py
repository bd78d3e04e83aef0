"""What a process has taken is what it wrote, not what it mapped; and what its processor can do."""

import mmap
from pathlib import Path

import pytest

from cell_train.hardware.memory import taken_bytes
from cell_train.hardware.processor import instruction_set

STATUS = """Name:\tpython
VmHWM:\t  520000 kB
VmRSS:\t  {rss} kB
RssAnon:\t  {anon} kB
RssFile:\t   90000 kB
RssShmem:\t    1000 kB
Threads:\t2
"""
needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")


def status(root: Path, anonymous: int) -> Path:
    (root / "proc/self").mkdir(parents=True)
    text = STATUS.format(anon=anonymous, rss=anonymous + 91000)
    (root / "proc/self/status").write_text(text)
    return root


def test_pages_of_files_do_not_count(tmp_path: Path) -> None:
    assert taken_bytes(status(tmp_path, 300_000)) == (301_000 << 10, 430_000 << 10)


def test_the_most_is_no_less_than_what_is_taken_now(tmp_path: Path) -> None:
    """Files mapped after the peak would make it smaller."""
    assert taken_bytes(status(tmp_path, 450_000)) == (451_000 << 10, 451_000 << 10)


@needs_linux
def test_what_is_written_counts_and_what_is_mapped_does_not(tmp_path: Path) -> None:
    size = 64 << 20
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    before, _ = taken_bytes()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0  # every page is resident
        mapped_only = taken_bytes()[0] - before
    written = bytearray(b"1") * size
    now, most = taken_bytes()
    assert mapped_only < size / 8
    assert now - before > size * 7 / 8
    del written
    assert most >= now


def test_without_linux_s_account_it_is_what_is_resident(tmp_path: Path) -> None:
    now, most = taken_bytes(tmp_path)
    assert 0 < now <= most


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu sse4_2 avx avx2 fma avx512f avx512vl", "avx512"),
        ("fpu sse4_2 avx avx2 fma", "avx2"),
        ("fpu sse4_2 avx", "other"),
    ],
)
def test_a_processor_is_known_by_its_flags(tmp_path: Path, flags: str, found: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\n")
    assert instruction_set(tmp_path) == found


def test_a_processor_without_flags_is_another(tmp_path: Path) -> None:
    assert instruction_set(tmp_path) == "other"
