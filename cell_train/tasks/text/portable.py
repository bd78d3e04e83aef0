"""The text task as plain numbers, for a program without torch: a page, say."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from cell_train.tasks.faces import Faces
from cell_train.tasks.text.decoder import Decoder
from cell_train.tasks.text.encoder import GivenEncoder, VsaEncoder


def portable(encoder: nn.Module, faces: Faces, decoder: Decoder) -> dict[str, Any]:
    """What encodes, enters, leaves and decodes: arrays by name, and what is no array.

    `encoder` is vsa (its word vectors as `signs` [V, D / 8], a bit a number, set for +), learned
    (`vectors` [V, D]) or given (no text can be encoded). `places` [L, D] are permutations.
    """
    found: dict[str, Any] = {
        "places": decoder.get_buffer("undo").argsort(1).numpy().astype("<u2"),
        "enter": _numbers(faces.enter),
        "leave": _numbers(faces.leave),
        "decoder": {name: _numbers(part) for name, part in decoder.named_parameters()},
    }
    if isinstance(encoder, VsaEncoder):
        words = encoder.get_buffer("words").numpy()
        return found | {"encoder": "vsa", "signs": np.packbits(words > 0, axis=1)}
    if isinstance(encoder, GivenEncoder):
        return found | {"encoder": "given"}
    return found | {"encoder": "learned", "vectors": _numbers(encoder.get_parameter("words"))}


def _numbers(tensor: Tensor) -> Any:
    return tensor.detach().numpy().astype("<f4")
