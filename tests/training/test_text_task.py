"""The text task in a stage: languages, encoders, controls and what is measured of replies."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cell_train.data import builtin
from cell_train.data.tokenizer import tokens
from tests.training.conftest import Make, start

LANGUAGES = {
    "greek": (
        ["η γάτα", "ο σκύλος", "το παιδί", "η γιαγιά"],
        ["βλέπει", "αγαπάει", "ακούει", "ζωγραφίζει"],
        ["τη θάλασσα.", "ένα σπίτι;", "τα πουλιά!", "τον ήλιο 🌞.", "το βουνό.", "μια βάρκα."],
    ),
    "japanese": (
        ["猫が", "犬が", "子供が", "おばあさんが"],
        ["今日", "公園で", "静かに", "ゆっくり"],
        [
            "ラーメンを食べた。",
            "本を読む。",
            "海を見ている。",
            "歌った！",
            "花を描く🌸。",
            "寝ます。",
        ],
    ),
    "arabic": (
        ["القِطَّةُ", "الكلب", "الطفل", "الجدة"],
        ["ترى", "تُحِبّ", "تسمع", "ترسم"],
        ["البحر.", "بيتًا؟", "الطيور!", "الشمس ☀️.", "الجبل.", "قاربًا."],
    ),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_any_language_trains_without_a_setting_changed(
    make: Make, tmp_path: Path, language: str
) -> None:
    space = "" if language == "japanese" else " "
    lines = [space.join(parts) for parts in itertools.product(*LANGUAGES[language])]
    path = tmp_path / f"{language}.txt"
    path.write_text("\n".join(lines))
    settings = {"data": {"path": str(path)}, "training": {"learning_rate": 0.01}}
    trainer, recorder = start(make(epochs=6, dataset_limit=64, **settings), tmp_path / "run")
    trainer.run()
    first, *_, last = [e["metrics"]["cosine"] for e in recorder.of("evaluation")]
    assert last > max(first, 0.05)
    vocabulary = trainer.state.model.task.vocabulary
    assert {word for line in lines for word in tokens(line)} == set(vocabulary.words[3:])


def test_the_same_sentences_are_shown_through_the_stages(make: Make, tmp_path: Path) -> None:
    shown = []
    for stage, limit in ((1, 32), (2, 96)):
        trainer, recorder = start(
            make(stage=stage, dataset_limit=limit, epochs=1), tmp_path / str(limit)
        )
        trainer.run()
        shown += [
            [sample[:2] for sample in event["samples"]] for event in recorder.of("evaluation")
        ]
    assert len(shown[0]) == 3
    assert all(samples == shown[0] for samples in shown)


def test_the_first_event_states_decoder_and_signature(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make(), tmp_path)
    (facts,) = [event["task"] for event in recorder.of("stage_start")]
    decoder = trainer.state.model.task.decoder
    assert facts["decoder_parameters"] == sum(p.numel() for p in decoder.parameters())
    assert facts["bleu"].startswith("nrefs:1|")
    assert facts["train"] == 96


def test_replies_are_ranked_beside_those_of_the_nearest_question(
    make: Make, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = builtin.pairs(150, seed=0)
    path.write_text("\n".join(json.dumps({"text": a, "reply": b}) for a, b in pairs))
    trainer, _ = start(make(data={"path": str(path)}, epochs=1), tmp_path / "run")
    task = trainer.state.model.task
    evaluation = task.evaluate(lambda batch: task._goal(batch), 0)  # a perfect lattice
    assert evaluation.metrics["rank"] == evaluation.metrics["reciprocal_rank"] == 1
    assert 1 <= evaluation.metrics["nearest_rank"] <= task.size("held_out")
    assert evaluation.metrics["nearest_reciprocal_rank"] < 1
    assert evaluation.metrics["bleu"] == evaluation.metrics["direct_bleu"]


@pytest.mark.parametrize("objective", ["embedding", "text"])
def test_precomputed_embeddings_train(make: Make, tmp_path: Path, objective: str) -> None:
    rows = np.random.default_rng(0).standard_normal((150, 32)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    text = {"encoder": "precomputed", "embeddings": str(tmp_path / "rows.npy")}
    settings = {"objective": objective, "text": text, "training": {"learning_rate": 0.01}}
    trainer, recorder = start(make(epochs=6, **settings), tmp_path / "run")
    trainer.run()
    first, *_, last = [e["metrics"]["cosine"] for e in recorder.of("evaluation")]
    assert last > first + 0.05


def test_a_frozen_lattice_stays_what_it_was_while_its_faces_learn(
    make: Make, tmp_path: Path
) -> None:
    trainer, recorder = start(make(monitor={"control": "frozen"}), tmp_path)
    model = trainer.state.model
    rule = [p.clone() for p in model.network.rule.parameters()]
    strength, face = model.network.connections.strength.clone(), model.task.faces.enter.clone()
    row = trainer.run()
    after = model.network.rule.parameters()
    assert all(torch.equal(a, b) for a, b in zip(rule, after, strict=True))
    assert torch.equal(model.network.connections.strength, strength)
    assert not torch.equal(model.task.faces.enter, face)
    assert row.mean_abs_change is None
    assert not recorder.of("clustering")
    assert not recorder.of("morphology")


def test_past_the_lattice_the_decoder_reads_the_embedding_itself(
    make: Make, tmp_path: Path
) -> None:
    trainer, _ = start(make(monitor={"control": "bypass"}), tmp_path)
    words = trainer.state.model.task.decoder.words.clone()
    metrics = trainer.run().metrics
    assert metrics["cosine"] == pytest.approx(1, abs=1e-5)
    assert metrics["bleu"] == metrics["direct_bleu"]
    assert not torch.equal(trainer.state.model.task.decoder.words, words)
