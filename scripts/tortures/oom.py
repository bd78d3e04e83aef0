"""A limit on memory that bites once training starts: down the ladder, or exit 4."""

from . import ground
from .ground import Score, Torture

WORDS = (
    "task=tortures.naughty:Naughty",
    "lattice.dimensions=[12,12,12]",
    "lattice.channels=16",
    "batch_size=32",
    "epochs=1",
)


def torture(given: Torture) -> Score:
    score = Score()
    text = ground.text_file(given.folder)
    codes: dict[int, int] = {}
    for folder in ground.trials(given):
        limit = given.random.choice((0, 2, 5, 10, 20, 40, 80))
        words = ground.run_words(text, "1", *WORDS)
        ended = ground.do(folder, *words, environment=ground.naughty({"limit_mib": limit}))
        codes[ended.code] = codes.get(ended.code, 0) + 1
        wrong = ended.wrong((0, 4))
        if ended.code == 4:
            wrong += ended.wrong((4,), "memory ran out", "celltrain resume")
            kind = ground.capsule(folder).get("kind")
            wrong += [] if kind == "memory" else [f"its capsule says {kind}"]
            again = ground.do(folder, "resume", environment=ground.naughty({}))
            wrong += again.wrong((0,))
        score.judge(f"{limit} MiB more", wrong + ground.left_over(folder))
    score.notes = {"exit_codes": codes}
    return score
