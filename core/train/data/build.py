"""Construction of a data set from its spec, kept in memory for the next job that asks for the
same."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, assert_never

import torch

from core.specs.data import Builtin, Data, Inline, InlineText, Synthetic, Upload
from core.specs.job import Forecast, LanguageModel, OfData, Reconstruction
from core.specs.losses import ignored_class
from core.specs.sizes.shapes import layers_of
from core.specs.splits.kinds import ColumnSplit, TailSplit
from core.train.data.builtin import load_builtin
from core.train.data.dataset import Dataset, of_themselves, prepare
from core.train.data.inline import load_inline
from core.train.data.rows import Rows, check_classes
from core.train.data.sequences import load_series, load_text
from core.train.data.split import draw_split
from core.train.data.synthetic import load_synthetic
from core.train.data.uploaded import load_upload
from core.train.losses import TargetForm, target_form

CACHE_BYTES: Final = 256 * 2**20


class DatasetCache:
    """Data sets by what determines them, the least recently used dropped beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Dataset] = OrderedDict()

    def get(
        self,
        spec: Data,
        form: TargetForm,
        device: torch.device,
        dtype: torch.dtype,
        plain_columns: tuple[int, ...] = (),
        ignored: int | None = None,
    ) -> Dataset:
        """Return the data set, made now or found in the cache. Shared: never write to its
        tensors."""
        of = f"{form} {plain_columns} {ignored}"
        return self._get(
            spec, of, device, dtype, lambda: load(spec, form, device, dtype, plain_columns, ignored)
        )

    def get_sequences(
        self, problem: Forecast | LanguageModel, device: torch.device, dtype: torch.dtype
    ) -> Dataset:
        """Return the windows or contexts of a problem, as `get` does."""
        cut = problem.model_dump_json(exclude={"data", "model", "loss"})
        return self._get(
            problem.data, cut, device, dtype, lambda: load_sequences(problem, device, dtype)
        )

    def _get(
        self,
        spec: Data,
        of: str,
        device: torch.device,
        dtype: torch.dtype,
        make: Callable[[], Dataset],
    ) -> Dataset:
        if isinstance(spec, Inline | InlineText):
            # Rows that came with one request are seldom sent again.
            return make()
        # Everything but how its rows are taken in turn.
        what = spec.model_dump_json(exclude={"order", "drop_last", "augment"})
        key = f"{of} {device} {dtype} {what}"
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = make()
        self._held.move_to_end(key)
        while sum(held.size_bytes for held in self._held.values()) > self._max_bytes:
            self._held.popitem(last=False)
        return found


_CACHE: Final = DatasetCache(CACHE_BYTES)
# A memo of a pure function: it changes when a job starts, never what it computes.


def build_dataset(
    spec: Data,
    form: TargetForm,
    device: torch.device,
    dtype: torch.dtype,
    plain_columns: tuple[int, ...] = (),
    ignored: int | None = None,
) -> Dataset:
    """Return the data set of `spec` with targets in `form`; `plain_columns` are not standardized,
    and rows with the target `ignored` count for nothing. Shared between jobs: read only."""
    return _CACHE.get(spec, form, device, dtype, plain_columns, ignored)


def build_data(problem: OfData, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Return the rows of a resolved problem. Shared between jobs: read only."""
    if isinstance(problem, LanguageModel | Forecast):
        return _CACHE.get_sequences(problem, device, dtype)
    if problem.loss is None:
        raise ValueError("the loss must be settled before a problem is built")
    plain = layers_of(problem).plain_columns
    form, ignored = target_form(problem.loss), ignored_class(problem.loss)
    dataset = build_dataset(problem.data, form, device, dtype, plain, ignored)
    return of_themselves(dataset) if isinstance(problem, Reconstruction) else dataset


def load_sequences(
    problem: Forecast | LanguageModel, device: torch.device, dtype: torch.dtype
) -> Dataset:
    """Make the windows or contexts anew."""
    match problem:
        case LanguageModel():
            return load_text(problem, device, dtype)
        case Forecast(data=data):
            rows, split = _rows(data, "values"), data.chosen_split
            codes = rows.codes
            if codes is None:
                assert isinstance(split, TailSplit)
                codes = draw_split(split, len(rows.features), rows.targets)
            return load_series(problem, rows, codes, device, dtype)
        case _:
            assert_never(problem)


def load(
    spec: Data,
    form: TargetForm,
    device: torch.device,
    dtype: torch.dtype,
    plain_columns: tuple[int, ...] = (),
    ignored: int | None = None,
) -> Dataset:
    """Make the data set anew.

    Raises:
        JobFailure: the rows cannot be had, split, or held by the precision, or those for training
            are of one class.
    """
    rows, split = _rows(spec, form, ignored), spec.chosen_split
    codes = rows.codes
    if codes is None:
        assert not isinstance(split, ColumnSplit)  # of uploads only, which have their codes
        codes = draw_split(split, len(rows.features), rows.targets)
    check_classes(rows, codes, ignored, split)
    return prepare(
        rows,
        form,
        codes,
        standardize=spec.standardize,
        scale_targets=spec.scale_targets,
        plain_columns=plain_columns,
        device=device,
        dtype=dtype,
    )


def _rows(spec: Data, form: TargetForm, ignored: int | None = None) -> Rows:
    match spec:
        case Builtin():
            return load_builtin(spec)
        case Synthetic():
            return load_synthetic(spec)
        case Inline():
            return load_inline(spec, classes=form != "values")
        case Upload():
            return load_upload(spec, form, ignored)
        case InlineText():
            raise ValueError("a text has no rows of features: it is for a model of language")
        case _:
            assert_never(spec)
