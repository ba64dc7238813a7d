"""Rows of sequences: the windows of a series, the contexts of a text. Pure arithmetic."""

from functools import lru_cache
from typing import assert_never

from core.specs.data import DataSpec, InlineText, TextCounts, Upload
from core.specs.job import LanguageModel
from core.specs.splits.kinds import TailSplit
from core.specs.splits.rows import PartRows, part_rows
from core.specs.tokenizers import BYTES, BytePair, Bytes, Characters


def tail_of(data: DataSpec) -> TailSplit:
    """Return the split of a text or a series; `data`: resolved, or with the short form."""
    if isinstance(data.split, TailSplit):
        return data.split
    return TailSplit(kind="tail", eval=data.held_out)


def window_rows(parts: PartRows, window: int, horizon: int) -> PartRows:
    """Return how many windows each part of a series has.

    Windows for training lie in its rows with all that they predict. Those of the other parts
    predict rows of the part alone, and may look back into the parts before it.
    """
    train = max(0, parts.train - window - horizon + 1)
    evaluated, tested = (
        max(0, rows - horizon + 1) if train else 0 for rows in (parts.eval, parts.test)
    )
    return PartRows(train, evaluated, tested)


def context_rows(tokens: PartRows, context: int) -> PartRows:
    """Return how many stretches of `context` tokens, with one more behind each, the parts have."""
    return PartRows(*(max(0, count - 1) // context for count in tokens))


def text_counts(problem: LanguageModel) -> TextCounts:
    """Return the sizes of the problem's text."""
    data = problem.data
    if isinstance(data, InlineText):
        return _counts(data.text)
    if isinstance(data, Upload) and data.sizes.text is not None:
        return data.sizes.text
    raise ValueError("resolve the spec first: the text's sizes are not known")


@lru_cache(maxsize=16)
def _counts(text: str) -> TextCounts:
    return TextCounts(
        num_characters=len(text),
        num_distinct_characters=len(set(text)),
        num_bytes=len(text.encode()),
    )


def token_counts(problem: LanguageModel) -> PartRows:
    """Return the tokens of each part; of byte pairs, until they have been counted, the bytes of
    each part, of which there are never fewer."""
    if problem.tokens is not None:
        return PartRows(*problem.tokens)
    counts, split = text_counts(problem), tail_of(problem.data)
    match problem.tokenizer:
        case Characters():
            return part_rows(split, counts.num_characters)
        case Bytes():
            return part_rows(split, counts.num_bytes)
        case BytePair():
            # The text is cut between characters, which have one to four bytes.
            characters = part_rows(split, counts.num_characters)
            extra = counts.num_bytes - counts.num_characters
            return PartRows(*(count and count + min(extra, 3 * count) for count in characters))
        case _:
            assert_never(problem.tokenizer)


def vocabulary_size(problem: LanguageModel) -> int:
    """Count the tokens that there may be."""
    match problem.tokenizer:
        case Characters():
            return text_counts(problem).num_distinct_characters + 1
        case Bytes():
            return BYTES
        case BytePair(vocabulary_size=size):
            return size
        case _:
            assert_never(problem.tokenizer)
