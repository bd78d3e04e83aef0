"""Losses that are not numbers: once, in a row, for ever."""

from pathlib import Path

import torch

from cell_train.training import checkpoint

from . import ground
from .ground import Score, Trials

WAYS = ("now and then", "in a row", "for ever")


def fault(given: Trials) -> Score:
    score = Score()
    for index, folder in enumerate(ground.trials(given)):
        way = WAYS[index % len(WAYS)]
        first = given.random.randint(0, 12)
        ways: dict[str, dict[str, object]] = {  # a step is one call of `score`
            "now and then": {"nan": [first, first + 5]},
            "in a row": {"nan": [*range(first, first + 10)]},
            "for ever": {"always_nan": True},
        }
        words = ground.run_words(given.text, "1", "task=faults.naughty:Naughty", "epochs=4")
        ended = ground.do(folder, *words, environment=ground.naughty(ways[way]))
        wrong = _judge(folder, way, ended) + ground.left_over(folder)
        score.judge(f"{way} from call {first}", wrong)
    return score


def _judge(folder: Path, way: str, ended: ground.Ended) -> list[str]:
    rows = ground.summary(folder).get("stages") or [{}]
    if way == "for ever":
        files = ground.the_run(folder)
        wrong = ended.wrong((1,), "not finite", "learning_rate")
        kind = ground.capsule(folder).get("kind")
        wrong += [] if kind == "numbers" else [f"its capsule says {kind}"]
    else:
        files = ground.the_run(folder)
        wrong = ended.wrong((0,), "not applied")
        if way == "in a row" and rows[0].get("rollbacks") != 1:
            wrong.append(f"{rows[0].get('rollbacks')} rollbacks")
    assert files is not None
    saved = checkpoint.newest(files.stage(1).checkpoints)[0]
    if saved is None:
        return [*wrong, "no checkpoint is left"]
    strength = saved["connections"]["strength"]
    finite = all(torch.isfinite(value).all() for value in (strength, *saved["rule"].values()))
    if not finite or strength.min() < 0.1 or strength.max() > 2:
        wrong.append("a number of its state is not finite or out of bounds")
    return wrong
