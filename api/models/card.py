"""A model's card in Markdown: what it was trained on, how well it does, how to make it again."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from core.artifacts.weights import WeightsPlace
from core.specs.base import Json
from core.specs.data import Upload
from core.specs.job import DataProblem, JobSpec, LanguageModel
from core.specs.sizes.shapes import layers_of, problem_parameters, problem_rows, problem_shape
from core.specs.sizes.uploads import spec_text
from core.specs.tokenizers import BytePair

Curves = Mapping[str, Mapping[str, NDArray[Any]]]
MOST_SPEC_CHARACTERS = 20_000
"""Length of a spec that is shown: data in it may be megabytes."""


@dataclass(frozen=True)
class Facts:
    """Facts of the record of a job, or of a run, under the names that it has there.

    Attributes:
        title: its name.
        path: its own.
        at_most: the rows of its data are known from above.
    """

    title: str
    path: str
    status: str
    outcome: str | None
    created_at: str
    finished_at: str | None
    note: str | None
    labels: Mapping[str, str]
    data: Json | None
    result: Json | None
    best: Json | None
    at_most: bool = False


def with_data(facts: Facts, problem: DataProblem, metadata: Mapping[str, str]) -> Facts:
    """Return the facts of a study's run with those of its data, of which its record has none: what
    follows from its resolved problem, and the classes by the metadata of its weights."""
    data = problem.data
    classes = metadata.get("class_names")
    found = {
        "num_rows": problem_rows(problem)._asdict(),
        "classes": None if classes is None else json.loads(classes),
    }
    tokenizer = problem.tokenizer if isinstance(problem, LanguageModel) else None
    at_most = isinstance(tokenizer, BytePair) or (
        isinstance(data, Upload) and data.missing == "drop"
    )
    return replace(facts, data=found, at_most=at_most)


def card(facts: Facts, place: WeightsPlace, spec: JobSpec, curves: Curves) -> str:
    """Write the card. `curves`: a few rows of each history."""
    lines = [
        f"# {_plain(facts.title)}",
        "",
        *_about(facts, place, spec),
        *_data(facts, spec),
        *_metrics(facts),
        *_curve(facts, curves),
        *_use(facts, place),
        *_spec(facts, spec),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _about(facts: Facts, place: WeightsPlace, spec: JobSpec) -> Iterator[str]:
    if facts.note:
        yield from (f"> {_plain(line)}" for line in facts.note.splitlines())
        yield ""
    problem = spec.problem
    outcome = f" ({facts.outcome})" if facts.outcome else ""
    rows = [
        ("Made by", f"`{facts.path}`"),
        ("Status", f"{facts.status}{outcome}"),
        ("Weights", f"{place.checkpoint}, after {place.step:,} updates"),
        ("Created", facts.created_at),
        ("Ended", facts.finished_at or "not yet"),
    ]
    if isinstance(problem, DataProblem):
        layers = layers_of(problem)
        kinds = " → ".join(placed.layer.kind for placed in layers.layers)
        rows += [
            ("Model", f"`{problem.model.kind}`: {kinds}"),
            ("Loss", f"`{problem.loss.kind}`" if problem.loss else "none"),
        ]
    else:
        rows.append(("Function", f"`{problem.function.kind}`"))
    rows += [
        ("Parameters", f"{problem_parameters(problem):,}"),
        ("Optimizer", f"`{spec.optimizer.kind}`"),
        ("Seed", str(spec.seed)),
        *((f"Label {_plain(name)}", _plain(value)) for name, value in facts.labels.items()),
    ]
    yield from _table(("", ""), rows)


def _data(facts: Facts, spec: JobSpec) -> Iterator[str]:
    if not isinstance(spec.problem, DataProblem):
        return
    data = spec.problem.data
    shape = problem_shape(spec.problem)
    known = facts.data or {}
    rows = [("Source", f"`{data.kind}`"), ("Features", f"{shape.num_features:,}")]
    named = {"name": getattr(data, "name", None), "id": getattr(data, "id", None)}
    rows += [(name.capitalize(), f"`{value}`") for name, value in named.items() if value]
    if (generator := getattr(data, "generator", None)) is not None:
        rows.append(("Generator", f"`{generator.kind}`"))
    if isinstance(data, Upload) and data.targets:
        rows.append(("Target", ", ".join(map(_plain, data.targets))))
    if classes := known.get("classes"):
        rows.append(("Classes", ", ".join(map(_plain, classes[:50]))))
    for part, count in (known.get("num_rows") or {}).items():
        about = "at most " if facts.at_most and count else ""
        rows.append((f"Rows to {part}", f"{about}{count:,}"))
    split = data.chosen_split.model_dump(mode="json")
    rows += [
        ("Split", f"`{json.dumps(split)}`"),
        ("Features standardized", "yes" if data.standardize else "no"),
        ("Targets scaled", "yes" if data.scale_targets else "no"),
    ]
    yield from _headed("Data", _table(("", ""), rows))


def _metrics(facts: Facts) -> Iterator[str]:
    result = facts.result or {}
    test = result.get("test") or {}
    columns = {
        "evaluation, last": result.get("eval"),
        "test, final weights": test.get("final"),
        "test, best weights": test.get("best"),
    }
    there = {name: part for name, part in columns.items() if part}
    names = dict.fromkeys(
        name
        for part in there.values()
        for name, value in part.items()
        if isinstance(value, (int, float)) and name != "step"
    )
    if names:
        rows = [(name, *(_number(part.get(name)) for part in there.values())) for name in names]
        yield from _headed("Metrics", _table(("", *there), rows))
    losses = [
        ("Initial loss", result.get("initial_loss")),
        ("Final loss", result.get("final_loss")),
        ("Best loss", result.get("best_loss")),
        ("Value of the function", result.get("value")),
    ]
    shown = [(name, _number(value)) for name, value in losses if value is not None]
    if shown:
        yield from _headed("Loss of training", _table(("", ""), shown))


def _curve(facts: Facts, curves: Curves) -> Iterator[str]:
    for kind, title in (("train", "Curve of training"), ("eval", "Curve of evaluations")):
        columns = {
            name: column
            for name, column in curves.get(kind, {}).items()
            if column.ndim == 1 and name in {"step", "loss", "lr"} | set(_EVALUATED)
        }
        if "step" not in columns or not len(columns["step"]):
            continue
        cells = [[_number(value) for value in column.tolist()] for column in columns.values()]
        rows = [tuple(row) for row in zip(*cells, strict=True)]
        yield from _headed(title, _table(tuple(columns), rows))
    yield f"All rows: `GET {facts.path}/history`; a picture: `GET {_picture(facts.path)}`."
    yield ""


_EVALUATED = (
    "accuracy", "balanced_accuracy", "f1", "auroc", "average_precision", "top_k", "mae", "rmse",
    "r2", "mape", "perplexity",
)  # fmt: skip


def _picture(path: str) -> str:
    return f"{path.partition('/runs/')[0]}/plot"


def _use(facts: Facts, place: WeightsPlace) -> Iterator[str]:
    query = f"?checkpoint={place.checkpoint}"
    body = f'{{"features": […], "checkpoint": "{place.checkpoint}"}}'
    ways = [
        f"- Predictions: `POST {facts.path}/predictions` with `{body}`",
        f"- Weights (safetensors): `GET {facts.path}/model{query}`",
        f"- ONNX: `GET {facts.path}/model{query}&format=onnx`",
        "",
    ]
    yield from _headed("Use", iter(ways))


def _spec(facts: Facts, spec: JobSpec) -> Iterator[str]:
    text = json.dumps(json.loads(spec_text(spec)), indent=2, ensure_ascii=False)
    if len(text) > MOST_SPEC_CHARACTERS:
        text = f"(too long to be shown: GET {facts.path})"
    body = ["Posted as a job, it trains the same again.", "", "```json", text, "```"]
    yield from _headed("Spec", iter(body))


def _headed(title: str, body: Iterator[str]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield from body


def _table(head: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):  # NaN, as it is stored
        return value
    return f"{int(value):,}" if _is_whole(value) else f"{value:.6g}"


def _is_whole(value: float) -> bool:
    return math.isfinite(value) and float(value).is_integer() and abs(value) < 1e15


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    line = " ".join(str(text).split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|!" else char for char in line)
