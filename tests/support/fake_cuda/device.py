"""A CUDA device without one: tensors that say they are on it and hold their numbers on the CPU.

Inside `Mode` what would fail for tensors on two devices fails with Mixed, and what CUDA would do is
counted: kernels launched, and waits of the host for the device, by the line of the package that
asks for them. Only in a process started with `build.environment()`.
"""

import collections
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import FrameType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cell_train.model.cell_rule import RuleWeights
from cell_train.model.kernels import reference, select
from cell_train.model.kernels.select import Kernels
from cell_train.model.lattice import Connections

CUDA = torch.device("cuda:0")
LAUNCHES: collections.Counter[str] = collections.Counter()
WAITS: collections.Counter[str] = collections.Counter()

# Views and allocations launch nothing.
FREE = frozenset(
    (
        *("view", "expand", "slice", "select", "unsqueeze", "squeeze", "permute", "transpose"),
        *("t", "detach", "alias", "as_strided", "unbind", "split", "split_with_sizes"),
        *("_unsafe_view", "reshape", "unfold", "diagonal", "_reshape_alias", "lift_fresh"),
        *("chunk", "narrow", "unflatten", "empty", "empty_like", "new_empty", "empty_strided"),
        *("new_empty_strided", "is_same_size", "_local_scalar_dense", "sym_size"),
    )
)
# These take indices or numbers that may lie on the CPU...
INDEXING = frozenset(("index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"))
# ... and these not even a single number.
STRICT = frozenset(
    (
        *("mm", "addmm", "bmm", "index_select", "gather", "scatter_", "index_add_"),
        *("index_copy_", "embedding", "cat", "where", "index_fill_"),
    )
)
# These need to know on the host what only the device knows: the size of what they return.
SIZED = frozenset(
    (
        *("nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim"),
        *("equal", "repeat_interleave", "is_nonzero", "histc", "bincount"),
    )
)


class Mixed(RuntimeError):
    """Tensors of two devices met in one operation."""


class Fake(torch.Tensor):
    """A tensor on the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls: type["Fake"], held: Tensor) -> "Fake":
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=CUDA,
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:
        return f"Fake({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        _wait("saved")
        return self.held.detach().__reduce_ex__(protocol)


class Mode(TorchDispatchMode):
    """Catches what is made on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def on_it() -> AbstractContextManager[Any]:
    """What is made on the device inside is there."""
    return Mode()


_quiet = [False]


def quietly(run: Callable[[], Any]) -> Any:
    """What `run` gives; nothing that it does is counted."""
    before, _quiet[0] = _quiet[0], True
    try:
        return run()
    finally:
        _quiet[0] = before


def _where() -> str:
    """The line of the package that is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        _, inside, file = frame.f_code.co_filename.rpartition("/cell_train/")
        if inside:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"


def _wait(what: str) -> None:
    if not _quiet[0]:
        WAITS[f"{what} at {_where()}"] += 1


def _launch(what: str, times: int = 1) -> None:
    if not _quiet[0]:
        LAUNCHES[what] += times


def _held(value: Any) -> Any:
    """`value` with the numbers of tensors on the device in their place."""
    if isinstance(value, Fake):
        return value.held
    return type(value)(map(_held, value)) if type(value) in (list, tuple) else value


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from _tensors(value)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    given = list(_tensors((*args, *kwargs.values())))
    ours = {id(value.held): value for value in given if isinstance(value, Fake)}
    if not ours and (device is None or device.type == "cpu"):
        return func(*args, **kwargs)
    name = func.overloadpacket.__name__
    if name == "_to_copy":
        return _copied(func, args[0], kwargs, device)
    if name == "copy_":
        if isinstance(args[0], Fake) != isinstance(args[1], Fake):
            _wait("copy_")
        func(_held(args[0]), _held(args[1]), *args[2:], **kwargs)
        if isinstance(args[0], Fake):
            _launch(name)
        return args[0]
    if ours:
        _check(name, args, given)
    left = {key: _held(value) for key, value in kwargs.items() if key != "pin_memory"}
    if device is not None:
        left["device"] = torch.device("cpu")
    found = func(*map(_held, args), **left)
    if device is not None and device.type == "cpu":
        return found
    if name not in FREE:
        _launch(name)

    def on_device(value: Any) -> Any:
        if isinstance(value, Tensor) and not isinstance(value, Fake):
            # what comes back in place is the very tensor that went in
            return ours[id(value)] if id(value) in ours else Fake(value)
        return type(value)(map(on_device, value)) if type(value) in (list, tuple) else value

    return on_device(found)


def _copied(func: Any, source: Tensor, kwargs: Any, device: torch.device | None) -> Tensor:
    from_ours = isinstance(source, Fake)
    to_ours = from_ours if device is None else device.type == "cuda"
    # To the device from memory that is not pinned, the host waits only until it is read.
    if from_ours and not to_ours:
        _wait("to the CPU")
    if to_ours:
        _launch("_to_copy")
    left = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking")}
    held = _held(source)
    found = func(held, **left)
    found = found.clone() if found is held else found
    return Fake(found) if to_ours else found


def _check(name: str, args: Any, flat: list[Tensor]) -> None:
    """Raises Mixed where CUDA would complain; counts what makes the host wait."""
    theirs = [value for value in flat if not isinstance(value, Fake)]
    if name in INDEXING:
        value = args[2] if len(args) > 2 else None
        wrong = not isinstance(args[0], Fake) or (
            isinstance(value, Tensor) and not isinstance(value, Fake) and value.dim() > 0
        )
        masks = (index for index in args[1] if isinstance(index, Tensor))
        if any(index.dtype in (torch.bool, torch.uint8) for index in masks):
            _wait("boolean index")
    else:
        wrong = any(value.dim() > 0 or name in STRICT for value in theirs)
    if wrong:
        kinds = [(value.device.type, tuple(value.shape)) for value in flat]
        raise Mixed(f"aten.{name} of {kinds} at {_where()}")
    if name == "_local_scalar_dense":
        _wait("item")
    if name in SIZED:
        _wait(name)


def step_kernels() -> Kernels:
    """The Triton path's stand-in: its launches, by the definition's results, also in half."""

    def forward(connections: Any, rule: Any, cells: Tensor, activity: Tensor) -> Tensor:
        _launch("triton")
        kept = _there(cells)
        here, weights = _laid_out(connections), RuleWeights(*map(_there, rule))
        return Fake(reference.forward(here, weights, kept.float(), _there(activity)).to(kept.dtype))

    def backward(connections: Any, rule: Any, cells: Tensor, d_next: Tensor) -> Any:
        _launch("triton", 3)
        _launch("zeros and sums", 3)
        here, weights = _laid_out(connections), RuleWeights(*map(_there, rule))
        d_cells, d_rule = reference.backward(here, weights, _there(cells).float(), _there(d_next))
        return Fake(d_cells), RuleWeights(*map(Fake, d_rule))

    def dot(connections: Any, a: Tensor, b: Tensor) -> Tensor:
        _launch("triton")
        ends = (_there(end).float().contiguous() for end in (a, b))
        return Fake(reference.connection_dot(_laid_out(connections), *ends))

    return Kernels("fused Triton", forward, backward, dot, half=True)


def _there(value: Tensor) -> Tensor:
    """The numbers of a tensor that must be on the device."""
    if not isinstance(value, Fake):
        raise Mixed(f"a kernel was given a tensor on the CPU at {_where()}")
    return value.held.detach()


def _laid_out(connections: Connections) -> Connections:
    mask, start = _there(connections.mask), _there(connections.start)
    return replace(connections, mask=mask, start=start, strength=_there(connections.strength))


def _gru(self: nn.GRU, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One layer, batch first: on CUDA a single call of cuDNN."""

    def run() -> tuple[Tensor, Tensor]:
        w, u, b, c = self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        state = x.new_zeros(x.shape[0], self.hidden_size) if h is None else h[0]
        gates, out = x @ w.t() + b, []
        for t in range(x.shape[1]):
            i, g = gates[:, t].chunk(3, 1), (state @ u.t() + c).chunk(3, 1)
            reset, update = torch.sigmoid(i[0] + g[0]), torch.sigmoid(i[1] + g[1])
            new = torch.tanh(i[2] + reset * g[2])
            state = new + update * (state - new)
            out.append(state)
        return torch.stack(out, 1), state[None]

    _launch("cudnn_rnn")
    return quietly(run)  # type: ignore[no-any-return]


def install() -> None:
    """Lets the rest of the process take the device for one."""
    torch.cuda._lazy_init = lambda: None  # type: ignore[assignment]
    torch.cuda.is_available = lambda: True
    allocated = itertools.count(1 << 20, 1 << 10)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        setattr(torch.cuda, name, lambda *_: next(allocated))
    torch.cuda.max_memory_reserved = lambda *_: next(allocated)  # type: ignore[assignment]
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_name = lambda *_: "a device that is none"
    torch.cuda.get_device_properties = lambda *_: SimpleNamespace(
        name="a device that is none",
        total_memory=1 << 34,
        major=9,
        minor=0,
        multi_processor_count=1,
        uuid="GPU-0",
    )
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
    torch.cuda.synchronize = lambda *_: _wait("synchronize")  # type: ignore[assignment]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    nn.GRU.flatten_parameters = lambda _: None  # type: ignore[method-assign]
    nn.GRU.forward = _gru  # type: ignore[method-assign,assignment]
    made = torch.tensor

    def tensor(data: Any, *, device: Any = None, **others: Any) -> Tensor:
        found = made(data, **others)
        return found if device is None else found.to(device)

    torch.tensor = tensor  # type: ignore[assignment]
    select.fused = lambda *_: step_kernels()
