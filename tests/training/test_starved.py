"""Running out of memory is recognised, whoever says it."""

import pytest
import torch

from cell_train.errors import starved


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    ],
)
def test_out_of_memory(error: Exception) -> None:
    assert starved(error)


@pytest.mark.parametrize(
    "said",
    ["out of resource: shared memory, Required: 290432", "CUDA error: an illegal memory access"],
)
def test_other_failures_are_not(said: str) -> None:
    assert not starved(RuntimeError(said))
