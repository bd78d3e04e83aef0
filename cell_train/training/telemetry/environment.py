"""What a worker finds on this machine, as one JSON object: for `celltrain doctor`.

python -m cell_train.training.telemetry.environment [CHANNELS,HIDDEN,KERNELS]...
"""

import json
import sys
from typing import Any

import torch

from cell_train import cache
from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels import cpp, select


def look(sizes: list[RuleSize]) -> dict[str, Any]:
    """The torch there is, the devices it sees, and the step it would run for rules of each size.

    Builds the compiled step where it is not in the cache yet.
    """
    seen = torch.cuda.is_available()
    devices = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    device = torch.device("cuda" if seen else "cpu")
    chosen = {size: select.choose(size, device, cache.library) for size in sizes}
    return {
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "cuda_available": seen,
        "threads": torch.get_num_threads(),
        "compiler": cpp.compiler(),
        "devices": [{"name": one.name, "memory_bytes": one.total_memory} for one in devices],
        "kernels": [
            {**vars(size), "name": step.name, "reason": reason}
            for size, (step, reason) in chosen.items()
        ],
    }


if __name__ == "__main__":
    sizes = [RuleSize(*map(int, word.split(","))) for word in sys.argv[1:]]
    sys.stdout.write(json.dumps(look(sizes)) + "\n")
