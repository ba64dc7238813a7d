"""Texts as tokens: the rows that a model of language learns from.

A text is split first; vocabularies of byte pairs are counted in its training part alone.
Without torch: rows are counted before a job begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from core.errors import JobFailure
from core.specs.base import Json
from core.specs.data import InlineText, Upload
from core.specs.job import LanguageModel
from core.specs.sizes.sequences import context_rows, tail_of
from core.specs.splits.kinds import TailSplit
from core.specs.splits.rows import PartRows, part_rows
from core.specs.tokenizers import BytePair, Bytes, Characters, Tokenizer
from core.train.data.uploaded import open_upload

Ids = NDArray[np.int64]
KEPT_TEXTS: Final = 4
"""Tokenized texts that are kept for the next job of the same."""


@dataclass(frozen=True)
class TokenizedText:
    """The parts of a text as tokens.

    Attributes:
        parts: ids for training, evaluation and test.
        tokenizer: what makes the same ids of other texts: `characters` (in the order of their ids;
            all others have the next one), or `byte_pair`, as the library tokenizers reads it.
    """

    parts: tuple[Ids, Ids, Ids]
    tokenizer: Json

    @property
    def counts(self) -> PartRows:
        return PartRows(*map(len, self.parts))


def tokenized(problem: LanguageModel) -> TokenizedText:
    """Return the problem's text as tokens.

    Raises:
        JobFailure: the content is gone.
    """
    data = problem.data
    if isinstance(data, InlineText):
        return _of_text(data.text, problem.tokenizer, *_shares(problem))
    assert isinstance(data, Upload)
    return _of_upload(data, problem.tokenizer, *_shares(problem))


def exact_tokens(problem: LanguageModel) -> LanguageModel:
    """Return the problem with the number of tokens of each part, of which bytes and byte pairs are
    known from above only until they are counted.

    Raises:
        JobFailure: the content is gone, or no context is left for training.
    """
    if isinstance(problem.tokenizer, Characters):
        return problem
    counts = tokenized(problem).counts
    if context_rows(counts, problem.context).train < 1:
        raise JobFailure(
            "data_unavailable",
            f"A context of {problem.context:,} needs {problem.context + 1:,} tokens, and the text"
            f" for training has {counts.train:,}: give a shorter one, a longer text, or a smaller"
            " vocabulary.",
            "problem.context",
        )
    if problem.tokens == tuple(counts):
        return problem
    return problem.model_copy(update={"tokens": tuple(counts)})


def _shares(problem: LanguageModel) -> tuple[float, float]:
    split = tail_of(problem.data)
    return split.eval, split.test


@lru_cache(maxsize=KEPT_TEXTS)
def _of_upload(data: Upload, tokenizer: Tokenizer, evaluated: float, test: float) -> TokenizedText:
    return _of_text(open_upload(data).text().decode(), tokenizer, evaluated, test)


@lru_cache(maxsize=KEPT_TEXTS)
def _of_text(text: str, tokenizer: Tokenizer, evaluated: float, test: float) -> TokenizedText:
    match tokenizer:
        case Characters():
            known, ids = np.unique(_points(text), return_inverse=True)
            about: Json = {"kind": "characters", "characters": "".join(map(chr, known.tolist()))}
            return TokenizedText(_cut(ids.astype(np.int64), evaluated, test), about)
        case Bytes():
            ids = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
            return TokenizedText(_cut(ids, evaluated, test), {"kind": "bytes"})
        case BytePair():
            return _byte_pairs(text, tokenizer, evaluated, test)
        case _:
            assert_never(tokenizer)


def _cut(ids: Ids, evaluated: float, test: float) -> tuple[Ids, Ids, Ids]:
    train, held_out, _ = _ends(len(ids), evaluated, test)
    return ids[:train], ids[train:held_out], ids[held_out:]


def _ends(count: int, evaluated: float, test: float) -> tuple[int, int, int]:
    rows = part_rows(TailSplit(kind="tail", eval=evaluated, test=test), count)
    return rows.train, rows.train + rows.eval, count


def _byte_pairs(text: str, spec: BytePair, evaluated: float, test: float) -> TokenizedText:
    from tokenizers import Tokenizer as Fitted
    from tokenizers import decoders, models, pre_tokenizers, trainers

    train, held_out, _ = _ends(len(text), evaluated, test)
    parts = text[:train], text[train:held_out], text[held_out:]
    fitted = Fitted(models.BPE())
    fitted.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fitted.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    # In one piece: others would cut pairs, and the vocabulary would depend on where.
    fitted.train_from_iterator([parts[0]], trainer)
    ids = [np.array(fitted.encode(part).ids, np.int64) for part in parts]
    about: Json = {"kind": "byte_pair", "tokenizer": json.loads(fitted.to_str())}
    return TokenizedText((ids[0], ids[1], ids[2]), about)


def encoded(texts: Sequence[str], about: Json) -> list[Ids]:
    """Return the tokens of other texts by what was kept of the training's (`TokenizedText`)."""
    match about["kind"]:
        case "characters":
            known = _points(about["characters"])
            return [_places_in(known, _points(text)) for text in texts]
        case "bytes":
            return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]
        case _:
            from tokenizers import Tokenizer as Fitted

            fitted = Fitted.from_str(json.dumps(about["tokenizer"]))
            return [np.array(each.ids, np.int64) for each in fitted.encode_batch(list(texts))]


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _places_in(known: NDArray[np.uint32], points: NDArray[np.uint32]) -> Ids:
    """Return the place of each among `known`, which are sorted; their number, where it has none."""
    places = np.searchsorted(known, points)
    found = known[np.minimum(places, len(known) - 1)] == points
    return np.where(found, places, len(known)).astype(np.int64)


def contexts(ids: Ids, context: int) -> tuple[Ids, Ids] | None:
    """Return the rows of a part: (rows, context) ids, and of each the one that follows it; None
    where there is no whole row. What is left over at the end is left out."""
    rows = max(0, len(ids) - 1) // context
    if rows == 0:
        return None
    end = rows * context
    return ids[:end].reshape(rows, context), ids[1 : end + 1].reshape(rows, context)
