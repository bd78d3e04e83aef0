"""What a plan must know of text: face maps, encoder, decoder, vocabulary, what memory holds."""

from cell_train import limits
from cell_train.config.schema import Stage
from cell_train.data.statistics import facts
from cell_train.tasks.plan import F, How, Load


def load(stage: Stage, how: How) -> Load:
    text, data, known = stage.text, stage.data, facts(stage.data)
    x, y, _ = stage.lattice.dimensions
    d, h = text.embedding, text.decoder_hidden
    v = min(text.vocabulary, known.words + 3)
    words, length = min(data.max_words, known.longest) + 1, data.max_words + 1
    training = min(stage.dataset_limit, known.training)
    held_out = min(data.held_out, known.held_out)
    evaluated = min(limits.TEXTS_DECODED_TOGETHER, data.held_out, known.held_out)
    face, decoder = x * y * stage.lattice.channels, decoder_numbers(v, d, h)
    table = F * v * d if text.encoder == "vsa" else 0
    held = sum(
        texts for texts in (training, held_out) if texts <= limits.TEXT_IDS_HELD and how.on_cpu
    )
    ranks = 5 * min(limits.REPLIES_RANKED, held_out) ** 2
    nearest = F * training * evaluated if how.on_cpu else 0
    return Load(
        drive=face,
        training=training,
        map=d * face,
        decoder=decoder,
        encoder=v * d if text.encoder == "learned" else 0,
        data=table + 16 * length * d + 8 * length * held,
        scoring=_scoring(how, v, d, h, words),
        judged=max(4 * F * evaluated * text.beam * v, nearest, ranks),
        answers=4 * F * held_out * d + F * evaluated * length * d,
        saved=2 * d * face + decoder_numbers(text.vocabulary, d, h),
    )


def decoder_numbers(v: int, d: int, h: int) -> int:
    """Parameters of the decoder for V words, codes of D numbers and H hidden ones."""
    return v * (d + 1) + 1 + 3 * h * (2 * d + h + 2) + d * (h + 1)


def _scoring(how: How, v: int, d: int, h: int, words: int) -> int:
    """The decoder and its backward pass."""
    rows = how.micro_batch * words
    logits = F * rows * v
    saved = F * rows * (4 * d + 8 * h)
    table = F * v * d
    own = F * (decoder_numbers(v, d, h) - v * d) if how.accumulation == 1 else 0
    looking_up = 3 * table + own  # the word table's gradient, from its two uses and their sum
    return max(3 * logits + saved, logits + table + saved, looking_up)


def check(stage: Stage) -> list[str]:
    from cell_train.data import validation  # late: numpy takes as long as the rest of a plan

    return validation.check(stage)
