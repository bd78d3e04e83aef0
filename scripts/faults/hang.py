"""A worker that is alive and silent: asleep, spinning, stopped."""

from . import ground
from .ground import Score, Trials

WAYS = ("sleep", "spin", "stop", "always")
WATCHDOG = 4.0  # seconds, at least


def fault(given: Trials) -> Score:
    score = Score()
    task = "task=faults.naughty:Naughty"
    whole = ground.undisturbed(given.text, "1", task)
    watchdog = max(WATCHDOG, 1.5 * whole.seconds)  # a worker takes long to start on a busy machine
    for index, folder in enumerate(ground.trials(given)):
        way = WAYS[index % len(WAYS)]
        orders = {"hang": given.random.randint(0, 10), "how": way, "once": str(folder / "once")}
        if way == "always":
            orders = {"hang": 0, "how": "sleep"}
        ended = ground.do(
            folder,
            *ground.run_words(given.text, "1", task, f"training.watchdog={watchdog:.1f}"),
            environment=ground.naughty(orders),
        )
        files = ground.the_run(folder)
        assert files is not None
        log = files.stage(1).log.read_text()
        if way == "always":
            wrong = ended.wrong((1,), "silent", " resume ")
            kind = ground.capsule(folder).get("kind")
            wrong += [] if kind == "hang" else [f"its capsule says {kind}"]
        else:
            wrong = ended.wrong((0,), "silent") + ground.differs(folder, whole)
        if way != "stop" and "in _hang" not in log:  # a stopped process cannot say where
            wrong.append("its log does not say where it stood")
        score.judge(way, wrong + ground.left_over(folder))
    return score
