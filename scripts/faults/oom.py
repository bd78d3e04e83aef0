"""A limit on memory that bites once training starts: down the ladder, or exit 4 at its end."""

from pathlib import Path

from . import ground
from .ground import Score, Trials

WORDS = ("task=faults.naughty:Naughty", "lattice.channels=16", "epochs=1")
WIDE = ("lattice.dimensions=[12,12,12]", "batch_size=32")
LAST = ("lattice.dimensions=[20,20,4]", "batch_size=1", "dataset_limit=8")  # nothing to give up
LIMITS = (2, 5, 10, 20, 40, 80)  # MiB


def fault(given: Trials) -> Score:
    score = Score()
    codes: list[int] = []
    retries: list[int] = []
    for index, folder in enumerate(ground.trials(given)):
        how, limit = ((LAST, 0), (WIDE, 0), (WIDE, given.random.choice(LIMITS)))[index % 3]
        words = ground.run_words(given.text, "1", *WORDS, *how)
        ended = ground.do(folder, *words, environment=ground.naughty({"limit_mib": limit}))
        codes.append(ended.code)
        retries.append(len(ground.summary(folder)["stages"][0]["retries"]))
        wrong = ended.wrong((4,) if how == LAST else (0, 4))
        if ended.code == 4:
            wrong += _given_up(folder, ended)
        score.judge(f"{limit} MiB more", wrong + ground.left_over(folder))
    score.notes = {"exit_codes": codes, "retries": retries}
    return score


def _given_up(folder: Path, ended: ground.Ended) -> list[str]:
    """What is wrong with the end of the ladder; the run must go on once there is memory again."""
    wrong = ended.wrong((4,), "memory ran out and nothing is left to give up", " resume ")
    kind = ground.capsule(folder).get("kind")
    wrong += [] if kind == "memory" else [f"its capsule says {kind}"]
    return wrong + ground.do(folder, "resume", environment=ground.naughty({})).wrong((0,))
