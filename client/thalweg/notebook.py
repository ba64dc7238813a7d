"""HTML and SVG of things in a notebook, with no script and nothing from elsewhere."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from thalweg.progress import told

if TYPE_CHECKING:
    from thalweg.comparison import Comparison
    from thalweg.history import History
    from thalweg.records import DatasetRecord, JobRecord, StudyRecord

WIDTH: Final = 480
HEIGHT: Final = 160
MARGIN: Final = 48
MOST_POINTS: Final = 2 * WIDTH
"""Points of a curve: of each of so many stretches the lowest and the highest are drawn."""
MOST_COLUMNS: Final = 50
"""Columns of a data set that are listed."""
_STYLE: Final = "font-family:sans-serif;font-size:13px"
_COLOURS: Final = ("#1f6feb", "#d1622b", "#2f8f4e", "#8250df", "#b3225c", "#57606a")


def job_html(job: "JobRecord") -> str:
    """Show a job: how far it is, its curve and its verdict."""
    head = f"<b>{escape(job.name or job.id)}</b> {_badge(job.status)}"
    if job.outcome is not None:
        head += f" {_badge(job.outcome)}"
    if job.verdict is not None:
        head += f" {_badge(job.verdict)}"
    parts = [head, _bar(job.progress.get("fraction")), escape(told(job))]
    if job.error is not None:
        parts.append(f"<b>{escape(job.error['code'])}</b>: {escape(job.error['message'])}")
    if (curve := _curve_of(job)) is not None:
        parts.append(curve)
    remedies = (job.data.get("diagnosis") or {}).get("remedies") or []
    if remedies:
        parts.append(_remedies(remedies))
    return _block(parts)


def _curve_of(job: "JobRecord") -> str | None:
    """Draw the losses of a job that can be asked at once; of another, nothing."""
    from thalweg._sync.jobs import Job
    from thalweg.errors import ThalwegError

    if not isinstance(job, Job) or job.latest is None:
        return None
    try:
        history = job.history(series="loss", points=MOST_POINTS)
    except ThalwegError:
        return None
    return curve(history["step"].tolist(), {"loss": history["loss"].tolist()})


def study_html(study: "StudyRecord") -> str:
    """Show a study: how far it is and its best configuration."""
    parts = [
        f"<b>{escape(study.name or study.id)}</b> {_badge(study.status)}",
        _bar(study.progress.get("fraction")),
        escape(told(study)),
    ]
    best = study.data.get("best")
    if best:
        parts.append(f"best: {escape(str(best['params']))}, {escape(number(best['metric']))}")
    return _block(parts)


def dataset_html(data: "DatasetRecord") -> str:
    """Show a data set: what it is, and its columns."""
    head = f"<b>{escape(data.name or data.id)}</b> {_badge(data.status)} {_badge(data.kind)}"
    parts = [head, escape(data.id)]
    if data.num_rows is not None:
        parts[1] += f", {data.num_rows:,} rows"
    if data.error is not None:
        parts.append(f"<b>{escape(data.error['code'])}</b>: {escape(data.error['message'])}")
    if data.columns:
        rows = [column_row(column) for column in data.columns[:MOST_COLUMNS]]
        parts.append(table(("column", "dtype", "shape", "missing", "categories"), rows))
    if len(data.columns) > MOST_COLUMNS:
        parts.append(f"and {len(data.columns) - MOST_COLUMNS:,} columns more")
    return _block(parts)


def column_row(column: Mapping[str, Any]) -> tuple[str, str, str, int, str]:
    """Return what a table shows of a column: a few of its categories, of one that has many."""
    categories = column["categories"] or []
    few = ", ".join(categories[:8]) + (", …" if len(categories) > 8 else "")
    shape = "×".join(map(str, column["shape"])) or "–"
    return (column["name"], column["dtype"], shape, column["num_missing"], few or "–")


def diagnosis_html(diagnosis: Mapping[str, Any]) -> str:
    """Show a diagnosis: the verdict, what the rules found, what may help."""
    confidence = diagnosis.get("confidence")
    head = f"<b>{escape(str(diagnosis['verdict']))}</b>"
    head += "" if confidence is None else f", confidence {confidence:.0%}"
    rows = [
        (each["rule"], each["explanation"])
        for each in diagnosis["findings"]
        if each["status"] == "triggered"
    ]
    parts = [head, table(("rule", "finding"), rows)] if rows else [head]
    if diagnosis["remedies"]:
        parts.append(_remedies(diagnosis["remedies"]))
    return _block(parts)


def comparison_html(comparison: "Comparison") -> str:
    """Show a comparison: a line for each job, and the curves of the loss."""
    from thalweg.comparison import HEAD

    parts = [table(HEAD, [[number(cell) for cell in row] for row in comparison.rows()])]
    if "loss" in comparison.data["curves"]:
        curves = {name: values.tolist() for name, values in comparison.curves().items()}
        parts.append(curve(curves.pop("x"), curves))
    return _block(parts)


def history_html(history: "History") -> str:
    """Show a history: its first series that has a number a row, over the steps."""
    from thalweg.history import AXES

    steps = next((history[name] for name in ("step", "time_s", "epoch") if name in history), None)
    drawn = {
        name: values.tolist()
        for name, values in history.items()
        if name not in AXES and values.ndim == 1
    }
    name = "loss" if "loss" in drawn else next(iter(drawn), None)
    parts = [escape(repr(history))]
    if steps is not None and name is not None:
        parts.append(curve(steps.tolist(), {name: drawn[name]}))
    return _block(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; every cell is text."""

    def cells(values: Sequence[Any], tag: str) -> str:
        style = "text-align:left;padding:2px 10px 2px 0;vertical-align:top"
        made = (f'<{tag} style="{style}">{escape(str(value))}</{tag}>' for value in values)
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(cells(row, "td") for row in rows)
    return f"<table>{cells(head, 'th')}{body}</table>"


def number(value: Any) -> str:
    """Return a number in a few digits; of nothing, a dash."""
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float | int) else str(value)


def curve(steps: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """Draw series over their steps as SVG.

    The value axis is logarithmic where all values are positive and span more than a factor of 20.
    Values that are not finite leave a gap.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite or not steps:
        return "(no finite values)"
    low, high = min(finite), max(finite)
    logarithmic = low > 0 and high / low > 20
    scale = math.log if logarithmic else float
    bottom, span = scale(low), (scale(high) - scale(low)) or 1.0
    first, width = steps[0], (steps[-1] - steps[0]) or 1

    def place(step: float, value: float) -> str:
        x = MARGIN + (WIDTH - MARGIN - 8) * (step - first) / width
        y = 10 + (HEIGHT - 30) * (1 - (scale(value) - bottom) / span)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for index, values in enumerate(series.values()):
        for points in _stretches(steps, values):
            drawn = " ".join(place(step, value) for step, value in points)
            if len(points) == 1:
                drawn = f"{drawn} {drawn}"
            lines.append(
                f'<polyline points="{drawn}" fill="none" stroke-width="1.5" stroke-linecap="round"'
                f' stroke="{_COLOURS[index % len(_COLOURS)]}"/>'
            )
    texts = (
        _text(MARGIN - 4, 14, f"{high:.3g}", "end"),
        _text(MARGIN - 4, HEIGHT - 20, f"{low:.3g}", "end"),
        _text(MARGIN, HEIGHT - 4, f"{first:g}", "start"),
        _text(WIDTH - 8, HEIGHT - 4, f"{steps[-1]:g}", "end"),
        _text(WIDTH / 2, HEIGHT - 4, ", ".join(series), "middle"),
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{escape(", ".join(series))}">{"".join(lines)}{"".join(texts)}</svg>'
    )


def _stretches(
    steps: Sequence[float], values: Sequence[float]
) -> Iterable[list[tuple[float, float]]]:
    """Yield the stretches of finite values between gaps, thinned to what a picture shows."""
    size = max(1, len(values) // (MOST_POINTS // 2))
    found: list[tuple[float, float]] = []
    for start in range(0, len(values), size):
        rows = range(start, min(start + size, len(values)))
        finite = [row for row in rows if math.isfinite(values[row])]
        chosen = (
            {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
            if finite
            else set()
        )
        found += [(steps[row], values[row]) for row in sorted(chosen)]
        if len(finite) < len(rows) and found:
            yield found
            found = []
    if found:
        yield found


def _text(x: float, y: float, text: str, anchor: str) -> str:
    style = "font:10px sans-serif;fill:currentColor"
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" style="{style}">{escape(text)}</text>'


def _bar(fraction: float | None) -> str:
    percent = 100.0 * max(0.0, min(1.0, fraction or 0.0))
    return (
        f'<div style="width:{WIDTH}px;height:6px;background:#d0d7de;border-radius:3px">'
        f'<div style="width:{percent:.1f}%;height:6px;background:#1f6feb;border-radius:3px">'
        "</div></div>"
    )


def _badge(text: str) -> str:
    return (
        '<span style="border:1px solid currentColor;border-radius:8px;padding:0 6px">'
        f"{escape(text)}</span>"
    )


def _remedies(remedies: Iterable[Mapping[str, Any]]) -> str:
    rows = [(each["index"], each["patch"], each["reason"]) for each in remedies]
    return table(("remedy", "patch", "reason"), rows)


def _block(parts: Iterable[str]) -> str:
    inner = "".join(f'<div style="margin:4px 0">{part}</div>' for part in parts)
    return f'<div style="{_STYLE}">{inner}</div>'
