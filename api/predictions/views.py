"""Conversion of predictions to replies: JSON, CSV, NDJSON and NumPy's archive."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from api.http.encoding import JSON, numbers, to_json
from api.http.schemas import LEFT_OUT
from api.predictions.schemas import Prediction, PredictionLinks
from api.services.dependencies import Services
from core.artifacts.base import ArtifactStore
from core.errors import ArtifactError, FieldError, NotFoundError
from core.specs.base import Json
from core.uses.record import RESULT_NAME, UseRecord

Arrays = Mapping[str, NDArray[Any]]
Format = Literal["json", "csv", "ndjson", "npz"]
_RUN_BY_SPREADSHEETS: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that a spreadsheet takes for formulas."""


def read_arrays(store: ArtifactStore, use: UseRecord) -> dict[str, NDArray[Any]]:
    """Read the predictions that a worker has written. Raises `ArtifactError`."""
    try:
        data = store.job(use.id).read(RESULT_NAME)
    except NotFoundError as error:
        what = "The predictions are recorded, but their file is not there: ask for them again."
        raise ArtifactError(what) from error
    with np.load(io.BytesIO(data), allow_pickle=False) as npz:
        return dict(npz)


def prediction_json(services: Services, use: UseRecord, arrays: Arrays | None) -> Json:
    """Make the contract's JSON; `arrays`: the predictions, of one that has succeeded."""
    found = use.result or {}
    is_job = use.run is None
    owner = f"jobs/{use.of}" if is_job else f"studies/{use.of}/runs/{use.run}"
    root = services.root
    return Prediction.build(
        use,
        job_id=use.of if is_job else None,
        study_id=None if is_job else use.of,
        step=found.get("step"),
        classes=found.get("classes"),
        target_names=found.get("target_names", []),
        data=None if arrays is None else _rows(use, arrays),
        metrics=found.get("metrics"),
        unseen=use.unseen | found.get("unseen", {}),
        warnings=[FieldError(**each) for each in found.get("warnings", ())] or LEFT_OUT,
        links=PredictionLinks.build(
            self=f"{root}/v1/predictions/{use.id}",
            model=f"{root}/v1/{owner}/model?checkpoint={use.checkpoint}",
        ),
    )


def _rows(use: UseRecord, arrays: Arrays) -> list[Json]:
    """Return an entry for each row, non-finite numbers as words."""
    if "value" in arrays:
        values = _listed(arrays["value"])
        single = arrays["value"].shape[1] == 1
        return [{"value": each[0] if single else each} for each in values]
    classes = _class_names(use, arrays["class"])
    if "probabilities" not in arrays:
        return [{"class": name, "probabilities": None} for name in classes]
    each_row = zip(classes, _listed(arrays["probabilities"]), strict=True)
    return [{"class": name, "probabilities": row} for name, row in each_row]


def _listed(column: NDArray[Any]) -> list[Any]:
    found = numbers(column)
    rows: list[Any] = found.tolist() if isinstance(found, np.ndarray) else found
    return rows


def _class_names(use: UseRecord, ids: NDArray[Any]) -> list[Any]:
    """Return each row's class by name; of several labels 0 or 1 each."""
    names = (use.result or {}).get("classes")
    if ids.ndim == 2 or names is None:
        plain: list[Any] = ids.tolist()
        return plain
    known = [*names, None]  # the last, for -1
    return [known[number] for number in ids.tolist()]


def as_ndjson(use: UseRecord, arrays: Arrays) -> bytes:
    """Write one object a line, a line for each row."""
    return b"".join(to_json(row) + b"\n" for row in _rows(use, arrays))


def as_csv(use: UseRecord, arrays: Arrays) -> bytes:
    """Write a line of names, then a line for each row. A text that a spreadsheet would run has an
    apostrophe in front."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    columns = list(_columns(use, arrays))
    writer.writerow([_harmless(name) for name, _ in columns])
    writer.writerows(zip(*(cells for _, cells in columns), strict=True))
    return buffer.getvalue().encode()


def _columns(use: UseRecord, arrays: Arrays) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns of a table with their names."""
    found = use.result or {}
    names = found.get("target_names") or []
    if "value" in arrays:
        values = arrays["value"]
        if values.shape[1] == 1:
            yield "value", _listed(values[:, 0])
            return
        for place, name in enumerate(_names(names, values.shape[1])):
            yield f"value_{name}", _listed(values[:, place])
        return
    ids: NDArray[Any] = arrays["class"]
    if ids.ndim == 2:
        named = _names(names, ids.shape[1])
        for place, name in enumerate(named):
            yield f"class_{name}", ids[:, place].tolist()
    else:
        named = list(found.get("classes") or ())
        yield "class", [_harmless(name) for name in _class_names(use, ids)]
    if "probabilities" in arrays:
        for place, name in enumerate(named):
            yield f"probability_{name}", _listed(arrays["probabilities"][:, place])


def _names(names: list[str], count: int) -> list[str]:
    return names if len(names) == count else [str(number) for number in range(1, count + 1)]


def _harmless(text: str | None) -> str | None:
    if text is not None and text.startswith(_RUN_BY_SPREADSHEETS):
        return f"'{text}"
    return text


def as_npz(use: UseRecord, arrays: Arrays) -> bytes:
    """Write NumPy's archive of arrays (no pickles in it): `class` by name (of labels 0 or 1 each),
    `classes` and `probabilities`; or `value`."""
    shown = dict(arrays)
    names = (use.result or {}).get("classes")
    if "class" in shown and names is not None and shown["class"].ndim == 1:
        shown["class"] = np.array([*names, ""])[shown["class"]]
        shown["classes"] = np.array(names)
    if "value" in shown and shown["value"].shape[1] == 1:
        shown["value"] = shown["value"][:, 0]
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **shown)
    return buffer.getvalue()


WRITERS: Final[dict[str, tuple[str, Callable[[UseRecord, Arrays], bytes]]]] = {
    "csv": ("text/csv; charset=utf-8; header=present", as_csv),
    "ndjson": ("application/x-ndjson", as_ndjson),
    "npz": ("application/x-npz", as_npz),
}
"""Forms other than JSON."""
MEDIA_TYPES: Final = (JSON, *(media_type.partition(";")[0] for media_type, _ in WRITERS.values()))
