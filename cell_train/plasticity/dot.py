"""How a plasticity rule joins what the two ends of each connection know."""

from collections.abc import Callable

from torch import Tensor

Dot = Callable[[Tensor, Tensor], Tensor]
"""(histories at the receiving cells [N, L], at the sources [N, L]) -> a number a connection [E]."""
