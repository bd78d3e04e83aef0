"""Cores by affinity and by the quotas of cgroups."""

import os
from pathlib import Path

import pytest

from cell_train.hardware import cores

SEEN = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, SEEN),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, SEEN),
        (  # a limit above the process's own group counts, and one beside it does not
            {
                "proc/self/cgroup": "0::/pod/container",
                "sys/fs/cgroup/pod/cpu.max": "70000 100000",
                "sys/fs/cgroup/pod/container/cpu.max": "max 100000",
                "sys/fs/cgroup/other/cpu.max": "1000 100000",
            },
            0.7,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/y",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
        ({"sys/fs/cgroup/cpu.max": "x 0", "proc/self/cgroup": "damaged"}, SEEN),
    ],
)
def test_the_tightest_of_affinity_and_quotas_counts(
    tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.allowed(tmp_path) == expected
    threads = cores.under_quota(tmp_path)
    assert threads == (None if expected == SEEN else 1)
