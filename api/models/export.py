"""The model in other forms than its file of weights: ONNX, which a worker makes, and a card."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from starlette.requests import Request
from starlette.responses import Response

from api.history.selection import Question, answer
from api.http.conditional import matches
from api.http.encoding import to_json
from api.http.log import REQUEST_ID, TRACEPARENT
from api.http.openapi import header
from api.http.schemas import View
from api.http.weights import WEIGHTS, weights_reply
from api.keys.gate import caller_of
from api.models.card import Facts, card, with_data
from api.services.dependencies import Json, Services, services_of
from core.artifacts.weights import WeightsPlace
from core.errors import ConflictError
from core.ids import EXPORT_PREFIX, id_from, rfc3339, utc_now
from core.jobs import JobRecord
from core.specs.job import DataProblem, JobSpec
from core.specs.sizes.uploads import spec_text
from core.specs.studies.runs import run_spec
from core.store.protocols.types import NoWorkerError
from core.studies import RunRecord, StudyRecord, run_id
from core.uses.model import ModelFacts
from core.uses.record import ONNX_NAME, UseRecord, UseStatus

CURVE_ROWS: Final = 12
"""Rows of the curve that a card shows, about."""
MARKDOWN: Final = "text/markdown"


class ModelExport(View):
    """An export that is being made."""

    status: UseStatus
    format: str
    """The format: `onnx`."""
    checkpoint: str
    """The weights: by name, or the step of a kept checkpoint."""


_FILE: Final = WEIGHTS[200]
MODEL: Final[dict[int | str, dict[str, Any]]] = {
    **WEIGHTS,
    200: {
        **_FILE,
        "description": f"{_FILE['description']} As `format` says: ONNX, or a card in Markdown.",
        "content": {**_FILE["content"], MARKDOWN: {"schema": {"type": "string"}}},
    },
    202: {
        "model": ModelExport,
        "description": "The ONNX file is being made: come again.",
        "headers": {"Retry-After": header("Seconds.", type="integer")},
    },
}
"""The `responses=` of a call that gives a model: its weights, or another form."""


@dataclass(frozen=True)
class Source:
    """The model that is asked for in another form.

    Attributes:
        of: the job or study.
        run: index of the study's run.
        spec: reads its spec.
        tag: ETag of its weights.
        facts: for its card.
    """

    of: str
    run: int | None
    spec: Callable[[], JobSpec]
    place: WeightsPlace
    tag: str
    facts: Facts

    @classmethod
    def of_job(cls, job: JobRecord, place: WeightsPlace, tag: str) -> Self:
        """Return a job's."""

        def spec() -> JobSpec:
            return JobSpec.model_validate_json(to_json(job.spec))

        facts = Facts(
            title=job.name or job.id,
            path=f"/v1/jobs/{job.id}",
            status=job.status,
            outcome=job.outcome,
            created_at=job.created_at,
            finished_at=job.finished_at,
            note=job.note,
            labels=job.labels,
            data=job.data,
            result=job.result,
            best=job.best,
        )
        return cls(job.id, None, spec, place, tag, facts)

    @classmethod
    def of_run(cls, study: StudyRecord, run: RunRecord, place: WeightsPlace, tag: str) -> Self:
        """Return that of a study's run."""

        def spec() -> JobSpec:
            return run_spec(study.spec, run.params, run.repeat, study.format)

        facts = Facts(
            title=f"Run {run.index} of {study.name or study.id}",
            path=f"/v1/studies/{study.id}/runs/{run.index}",
            status=run.status,
            outcome=run.outcome,
            created_at=study.created_at,
            finished_at=study.finished_at,
            note=study.note,
            labels=study.labels,
            data=None,
            result=run.result,
            best=run.best,
        )
        return cls(study.id, run.index, spec, place, tag, facts)


async def other_form(
    request: Request,
    source: Source,
    form: Literal["onnx", "card"],
    name: str,
    if_none_match: str | None,
) -> Response:
    """Reply with the model in another form. `name`: of the file, without its ending."""
    services = services_of(request)
    spec = await asyncio.to_thread(source.spec)
    if form == "card":
        return await _card(services, source, spec, name)
    try:
        facts = ModelFacts.of(spec, "export")
    except ConflictError as error:
        raise ConflictError("not_exportable", str(error)) from error
    tag = f'"{source.tag.strip(chr(34))}.onnx"'
    if if_none_match and matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
    use = await _export(request, services, source, spec, facts)
    if use.status == "succeeded":
        artifacts = services.artifacts.job(use.id)
        return await weights_reply(
            request,
            lambda: artifacts.open(ONNX_NAME),
            name=name,
            ending="onnx",
            tag=tag,
            if_none_match=if_none_match,
            read=lambda start, length: artifacts.read_range(ONNX_NAME, start, length),
        )
    if use.status == "failed":  # told once: the next request tries again
        await services.store.uses.drop(use.id)
        failure = use.error or {}
        code = "not_exportable" if failure["code"] == "not_exportable" else "export_failed"
        raise ConflictError(code, f"The export failed: {failure['message']}")
    if not await services.store.workers():
        raise NoWorkerError("No worker is alive that would export the model: start one.")
    body = ModelExport.build(status=use.status, format="onnx", checkpoint=source.place.checkpoint)
    return Json(to_json(body), 202, {"Retry-After": "1"})


async def _export(
    request: Request, services: Services, source: Source, spec: JobSpec, facts: ModelFacts
) -> UseRecord:
    """Return the export of these weights: the one that there is, or one that is queued now."""
    id_ = id_from(EXPORT_PREFIX, source.of, source.run, source.place.checkpoint, source.tag)
    if (found := await services.store.uses.find(id_)) is not None:
        return found
    if not await services.store.workers():
        raise NoWorkerError("No worker is alive that would export the model: start one.")
    scope, caller = request.scope, caller_of(request.scope)
    place = source.place
    if source.run is not None:  # whose spec is in no file
        place = replace(place, metadata={"spec": spec_text(spec), **place.metadata})
    use = UseRecord(
        id=id_,
        kind="onnx",
        status="queued",
        of=source.of,
        run=source.run,
        created_at=rfc3339(utc_now()),
        device=spec.device,
        checkpoint=source.place.checkpoint,
        weights=place.to_json(),
        model=facts.to_json(),
        owner=None if caller is None else caller.owner,
        key_id=None if caller is None else caller.key.id,
        request_id=scope.get(REQUEST_ID),
        traceparent=scope.get(TRACEPARENT),
    )
    made, known = await services.store.uses.add(use, None)
    if not known:
        services.dispatcher.announce()
    return made


async def _card(services: Services, source: Source, spec: JobSpec, name: str) -> Response:
    history = source.of if source.run is None else run_id(source.of, source.run)
    whose: dict[str, str | int] | None = None
    if source.run is not None:
        whose = {"study_id": source.of, "run": source.run}
    curves = {}
    for kind in ("train", "eval"):
        question = Question(kind, None, None, CURVE_ROWS, CURVE_ROWS)
        curves[kind] = dict((await answer(services.store, history, question, whose)).columns)
    facts = source.facts
    if source.run is not None and isinstance(spec.problem, DataProblem):
        metadata = await asyncio.to_thread(source.place.shared_metadata, services.artifacts)
        facts = with_data(facts, spec.problem, metadata | dict(source.place.metadata))
    text = await asyncio.to_thread(card, facts, source.place, spec, curves)
    headers = {"Cache-Control": "no-cache", "Content-Disposition": f'inline; filename="{name}.md"'}
    return Response(text, headers=headers, media_type=MARKDOWN)
