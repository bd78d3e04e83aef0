"""An NVML that answers from a table, or refuses as the real one does."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    pass


@dataclass
class Card:
    uuid: str
    free: int
    name: str = "NVIDIA H100"
    capability: tuple[int, int] = (9, 0)
    refuses: frozenset[str] = frozenset()
    instances: list["Card"] = field(default_factory=list)
    partitioned: bool = False  # MIG is on, though it may hold no instance
    total: int = 0  # bytes; as much as is free unless given


class FakeNvml:
    """The functions of pynvml that the probe calls."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 2

    def __init__(self, *cards: Card, broken: str | None = None) -> None:
        self.cards, self.broken, self.open = cards, broken, 0

    def nvmlInit(self) -> None:
        if self.broken:
            raise NVMLError(self.broken)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1
        if any("shutdown" in card.refuses for card in self.cards):
            raise NVMLError("Unknown Error")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        self._answer(self.cards[index], "handle")
        return self.cards[index]

    def nvmlDeviceGetMigMode(self, card: Card) -> tuple[int, int]:
        self._answer(card, "mig")
        return (1, 1) if card.instances or card.partitioned else (0, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return len(card.instances) + 1  # one slot is empty

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:
        if index >= len(card.instances):
            raise NVMLError("Not Found")
        return card.instances[index]

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        self._answer(card, "capability")
        return card.capability

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        self._answer(card, "uuid")
        return card.uuid

    def nvmlDeviceGetName(self, card: Card) -> bytes:
        self._answer(card, "name")
        return card.name.encode()

    def nvmlDeviceGetMemoryInfo(self, card: Card, version: int | None = None) -> Any:
        self._answer(card, "memory")
        if version is not None:
            self._answer(card, "memory v2")
        reserved = 0 if version else 1 << 20
        return SimpleNamespace(total=card.total or card.free, free=card.free - reserved)

    def _answer(self, card: Card, what: str) -> None:
        if what in card.refuses:
            raise NVMLError("Not Supported")
