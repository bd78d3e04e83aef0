"""The text task as plain numbers, for a program without torch: a page, say."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cell_train.tasks.text.encoder import GivenEncoder, VsaEncoder

if TYPE_CHECKING:
    from cell_train.tasks.text.task import TextTask


def portable(task: "TextTask") -> dict[str, Any]:
    """What encodes, enters, leaves and decodes: arrays by name, and what is no array.

    `encoder` is vsa (its word vectors as `signs` [V, D / 8], a bit a number, set for +), learned
    (`vectors` [V, D]) or given (no text can be encoded). `places` [L, D] are permutations.
    """
    found: dict[str, Any] = {
        "kind": "text",
        "vocabulary": list(task.vocabulary.words),
        "max_words": task.data.max_words,
        "beam": task.text.beam,
        "width": task.text.embedding,
        "places": task.decoder.get_buffer("undo").argsort(1).numpy().astype("<u2"),
        "enter": _numbers(task.faces.enter),
        "leave": _numbers(task.faces.leave),
        "decoder": {name: _numbers(part) for name, part in task.decoder.named_parameters()},
    }
    if isinstance(task.encoder, VsaEncoder):
        words = task.encoder.get_buffer("words").numpy()
        found |= {"encoder": "vsa", "signs": np.packbits(words > 0, axis=1)}
    elif isinstance(task.encoder, GivenEncoder):
        found["encoder"] = "given"
    else:
        found |= {"encoder": "learned", "vectors": _numbers(task.encoder.get_parameter("words"))}
    return found


def _numbers(tensor: Any) -> Any:
    return tensor.detach().numpy().astype("<f4")
