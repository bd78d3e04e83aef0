"""Local plasticity: what a connection learns from the histories of the two cells it joins.

Every rule here is an inner product between two histories, one at each end of a connection. The
rules take `dot(at_cell [N, L], at_source [N, L]) -> [E]` and know nothing of the lattice.
"""

from collections.abc import Callable

from torch import Tensor

Dot = Callable[[Tensor, Tensor], Tensor]
"""(histories at the receiving cells [N, L], at the sources [N, L]) -> a number a connection [E]."""
