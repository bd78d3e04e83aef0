"""Plan a stage, train it, ask what it has learned, and see how well it bears damage."""

import cell_train

SMALL = {"lattice.dimensions": [4, 4, 4], "dataset_limit": 300}


def main() -> None:
    plan = cell_train.plan("1", overrides=SMALL)
    print(f"fits: {plan.fits}; about {plan.stages[0].seconds:.0f} s")

    ended = cell_train.run("1", overrides=SMALL, name="example")
    if ended.exit_code:
        raise SystemExit(ended.message)
    print(f"{ended.folder}: {ended.stages[0]['metrics']}")

    trained = cell_train.load("example")  # the newest run of this name; or ended.load()
    for answer in trained.ask(["the young teacher sleeps", "two cats"]):
        print(f"{answer.text!r} came back as {answer.output!r} (cosine {answer.cosine:.2f})")

    for name, lattice in (("whole", trained), ("a fifth silenced", trained.lesion(0.2))):
        print(f"{name}: cosine {lattice.evaluate(limit=100)['cosine']:.3f}")


if __name__ == "__main__":
    main()
