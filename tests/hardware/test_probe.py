"""The probe against recorded oddities of GPUs, drivers and containers."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cell_train.errors import ConfigError
from cell_train.hardware import memory as system
from cell_train.hardware import probe
from cell_train.hardware.probe import CUDA_CONTEXT, GIB
from tests.support.fake_nvml import Card, FakeNvml

SMALL = Card("GPU-aaaa-1", 8 * GIB, "small", (7, 5))
LARGE = Card("GPU-bbbb-2", 20 * GIB, "large")


def seen(nvml: FakeNvml, visible: str | None = None, device: str = "auto") -> probe.Budget:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    budget = probe.probe(device, environment, nvml, Path("/nowhere"))
    assert nvml.open == 0
    return budget


def test_the_gpu_with_most_free_memory_is_taken() -> None:
    budget = seen(FakeNvml(SMALL, LARGE))
    assert budget.device == "cuda:GPU-bbbb-2"
    assert budget.available_gb == 20
    assert budget.usable_bytes == 20 * GIB - CUDA_CONTEXT
    assert "most free of 2" in budget.source


@pytest.mark.parametrize(
    ("visible", "device"),
    [
        (None, "cuda:GPU-bbbb-2"),
        ("0", "cuda:GPU-aaaa-1"),
        ("1,0", "cuda:GPU-bbbb-2"),
        ("GPU-aaaa", "cuda:GPU-aaaa-1"),  # an abbreviated UUID
        ("0,7,1", "cuda:GPU-aaaa-1"),  # an invalid entry ends the list
        ("", "cpu"),
        ("-1", "cpu"),
        ("GPU-cccc", "cpu"),
        ("GPU-", "cpu"),  # an abbreviation must leave no choice
        ("NoDevFiles", "cpu"),  # as some schedulers set it
        (" 1 , 0", "cuda:GPU-bbbb-2"),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(visible: str | None, device: str) -> None:
    assert seen(FakeNvml(SMALL, LARGE), visible).device == device


def test_a_device_can_be_chosen_among_the_visible() -> None:
    nvml = FakeNvml(SMALL, LARGE)
    assert seen(nvml, device="cuda:0").device == "cuda:GPU-aaaa-1"
    assert seen(nvml, "1,0", device="cuda:1").device == "cuda:GPU-aaaa-1"
    assert seen(nvml, device="cpu").kind == "cpu"
    assert seen(nvml, device="cuda:GPU-aa").device == "cuda:GPU-aaaa-1"
    for wrong in ("cuda:2", "cuda:x", "tpu", "cuda:", "cuda:²", "cuda:GPU-c", "cuda:GPU-"):
        with pytest.raises(ConfigError, match="--device"):
            seen(nvml, device=wrong)
    with pytest.raises(ConfigError, match="no GPU is to be seen"):
        seen(FakeNvml(), device="cuda")


def test_mig_instances_stand_for_their_card() -> None:
    parts = [Card("MIG-1", 9 * GIB), Card("MIG-2", 10 * GIB)]
    card = Card("GPU-dddd", 80 * GIB, refuses=frozenset({"memory"}), instances=parts)
    assert seen(FakeNvml(card)).device == "cuda:MIG-2"
    assert seen(FakeNvml(card), "0").device == "cuda:MIG-1"
    assert seen(FakeNvml(card), "MIG-1").usable_bytes == 9 * GIB - CUDA_CONTEXT


def test_a_card_partitioned_into_nothing_is_no_gpu() -> None:
    budget = seen(FakeNvml(Card("GPU-dddd", 80 * GIB, partitioned=True)))
    assert budget.kind == "cpu"


def test_a_whole_uuid_that_begins_another_is_no_abbreviation() -> None:
    parts = [Card("MIG-1", 9 * GIB), Card("MIG-10", 10 * GIB)]
    card = Card("GPU-dddd", 80 * GIB, instances=parts)
    assert seen(FakeNvml(card), "MIG-1").device == "cuda:MIG-1"


def test_total_free_and_usable_are_told_apart() -> None:
    budget = seen(FakeNvml(Card("GPU-aaaa", 6 * GIB, total=8 * GIB)))
    assert (budget.total_bytes, budget.free_bytes) == (8 * GIB, 6 * GIB)
    assert budget.usable_bytes == 6 * GIB - CUDA_CONTEXT
    assert seen(FakeNvml(Card("GPU-aaaa", CUDA_CONTEXT // 2, total=GIB))).usable_bytes == 0
    cpu = seen(FakeNvml(), device="cpu")
    assert cpu.free_bytes == cpu.usable_bytes <= (cpu.total_bytes or 0)


@pytest.mark.parametrize("what", ["handle", "uuid"])
def test_a_gpu_that_is_lost_keeps_its_index_and_is_left_out(what: str) -> None:
    lost = Card("GPU-gone", 90 * GIB, refuses=frozenset({what}))
    assert seen(FakeNvml(lost, SMALL)).device == "cuda:GPU-aaaa-1"
    assert seen(FakeNvml(lost, SMALL), "1").device == "cuda:GPU-aaaa-1"
    alone = seen(FakeNvml(lost))
    assert alone.kind == "cpu"
    assert "GPU 0: Not Supported" in alone.source


def test_under_wsl_what_answers_counts() -> None:
    """NVML as the Windows driver gives it: memory by its first version, no MIG, no shutdown."""
    refuses = frozenset({"mig", "memory v2", "shutdown"})
    budget = seen(FakeNvml(Card("GPU-wsl", 7 * GIB, "RTX 4060", (8, 9), refuses)))
    assert budget.device == "cuda:GPU-wsl"
    assert budget.bf16
    without = seen(FakeNvml(broken="NVML Shared Library Not Found"))
    assert (without.kind, "Shared Library Not Found" in without.source) == ("cpu", True)


def test_without_a_driver_nothing_of_its_bindings_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", no_library)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("importlib.import_module", pytest.fail)
    assert probe.gpus({}) == ([], "no GPU: NVIDIA's driver is not installed")


def test_what_a_board_does_not_support_has_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimpleNamespace(available=100 * GIB, total=120 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: system)
    everything = frozenset({"mig", "memory", "capability", "name"})
    budget = seen(FakeNvml(Card("GPU-eeee", 0, refuses=everything)))
    assert budget.available_gb == 100
    assert budget.total_bytes == 120 * GIB
    assert "memory shared with the system" in budget.source
    assert not budget.bf16
    empty = seen(FakeNvml(Card("GPU-zero", 0)))  # some drivers answer, with nothing
    assert empty.available_gb == 100
    old_driver = Card("GPU-ffff", 8 * GIB, refuses=frozenset({"memory v2"}))
    assert seen(FakeNvml(old_driver)).usable_bytes == 8 * GIB - (1 << 20) - CUDA_CONTEXT


def test_precision_follows_the_card() -> None:
    assert not seen(FakeNvml(SMALL)).bf16
    assert seen(FakeNvml(LARGE)).bf16


def test_without_a_driver_the_reason_is_kept() -> None:
    budget = seen(FakeNvml(broken="Driver Not Loaded"))
    assert budget.kind == "cpu"
    assert "Driver Not Loaded" in budget.source


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_described_gpu_has_memory(wrong: float) -> None:
    with pytest.raises(ConfigError, match="--vram"):
        probe.described(wrong)


def cgroup(root: Path, lines: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    (root / "proc/meminfo").write_text(MEMINFO)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = f"MemTotal: {64 << 20} kB\nMemFree: 1 kB\nMemAvailable: {50 << 20} kB\nHugePages: 0\n"


@pytest.mark.parametrize("text", [None, "", "MemTotal: many kB\n", "MemTotal: 5 kB\n"])
def test_where_the_system_does_not_say_psutil_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    root = cgroup(tmp_path, "", {})
    assert system.system_memory(root) == (64 * GIB, 50 * GIB)
    (root / "proc/meminfo").unlink()
    if text is not None:
        (root / "proc/meminfo").write_text(text)
    other = SimpleNamespace(available=3 * GIB, total=4 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: other)
    assert system.system_memory(root) == (4 * GIB, 3 * GIB)


def test_cgroup_limits_count(tmp_path: Path) -> None:
    stat = f"anon 1\ninactive_file {GIB}\n"
    v2 = cgroup(
        tmp_path / "v2",
        "0::/user/job\n",
        {
            "user/job/memory.max": "max\n",
            "user/job/memory.current": f"{3 * GIB}\n",
            "user/job/memory.stat": stat,
            "user/memory.max": f"{8 * GIB}\n",
            "user/memory.current": f"{3 * GIB}\n",
            "user/memory.stat": stat,
        },
    )
    assert system.available_bytes(v2) == 6 * GIB  # of the parent, its page cache counted as free
    v1 = cgroup(
        tmp_path / "v1",
        "4:cpu:/\n7:memory:/docker/x\n",
        {  # in a container the group's own folder is the mount
            "memory/memory.limit_in_bytes": f"{4 * GIB}",
            "memory/memory.usage_in_bytes": f"{GIB}",
            "memory/memory.stat": "total_inactive_file 0\n",
        },
    )
    assert system.available_bytes(v1) == 3 * GIB
    unlimited = cgroup(tmp_path / "none", "0::/\n", {"memory.max": "max\n"})
    assert system.available_bytes(unlimited) == 50 * GIB


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("12", 12), ("12gb", 12), ("12GB", 12), (" 24 GiB ", 24), ("0.5g", 0.5), ("8.", 8)),
        *(("24576MiB", 24), ("6144 mb", 6), ("1T", 1024)),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: float) -> None:
    assert probe.gigabytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "much", "12 kb", "1e3", "nan", "99999999"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write 12, 12gb or 24GiB"):
        probe.gigabytes(text)


@pytest.mark.parametrize(
    "says", ["GPU is lost", "Insufficient Permissions", "Unknown Error", "Uninitialized"]
)
def test_a_query_that_fails_is_no_board_that_shares_memory(
    monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    nvml = FakeNvml(Card("GPU-1", 8 << 30))

    def fail(*_: object, **__: object) -> None:
        raise nvml.NVMLError(says)

    monkeypatch.setattr(nvml, "nvmlDeviceGetMemoryInfo", fail)
    budget = probe.probe("auto", {}, nvml)
    assert (budget.kind, budget.failure) == ("cpu", f"no GPU; GPU 0: {says}")
    with pytest.raises(ConfigError, match=f"GPU 0: {says}"):
        probe.probe("cuda", {}, nvml)


def test_where_there_is_no_gpu_nothing_has_failed() -> None:
    assert probe.probe("auto", {}, FakeNvml()).failure is None
    hidden = probe.probe("auto", {"CUDA_VISIBLE_DEVICES": ""}, FakeNvml(Card("GPU-1", 1 << 30)))
    assert hidden.failure is None
    broken = probe.probe("auto", {}, FakeNvml(broken="Driver/library version mismatch"))
    assert broken.failure == "no GPU: Driver/library version mismatch"


def test_a_limit_without_its_use_is_still_a_limit(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\nnonsense\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n")
    (group / "memory.max").write_text("1000000\n")
    assert system.available_bytes(tmp_path) == 1_000_000


def test_kills_for_memory_are_those_of_ones_own_cgroup(tmp_path: Path) -> None:
    assert system.oom_kills(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/mine\n0::/\n")
    (tmp_path / "proc/vmstat").write_text("oom_kill 7\n")  # of the machine
    assert system.oom_kills(tmp_path) is None
    group = tmp_path / "sys/fs/cgroup/memory/mine"
    group.mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert system.oom_kills(tmp_path) == 3
