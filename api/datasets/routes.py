"""Data sets: upload, list, read, look into, change, delete."""

import asyncio
import base64
import binascii
import re
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.datasets.schemas import Dataset, DatasetPage, DatasetPreview
from api.datasets.views import columns_of, dataset_json
from api.http.encoding import to_json
from api.http.errors import RefusedUploadError, UnsupportedMediaTypeError
from api.http.openapi import header, problems, request_body
from api.http.queries import DatasetsQuery, FirstRowsQuery, JobQuery, UploadQuery
from api.keys.gate import caller_of
from api.services.changes import MERGE_PATCH
from api.services.cleanup import remove_kept
from api.services.dependencies import (
    DataIdPath,
    Json,
    Route,
    Services,
    json_body,
    known_id,
    services_of,
)
from api.services.idempotency import KEY_PARAMETER, idempotency_of
from api.services.places import Place
from api.services.queueing import ListedNoun, expected_version, read_list, read_one
from api.services.uploads import Upload
from core.datasets import DatasetRecord
from core.errors import ArtifactError, ConflictError, FieldError, InvalidInputError, NotFoundError
from core.ids import DATA_PREFIX, new_id, rfc3339, utc_now
from core.specs.parsing.dataset import parse_patch
from core.uploads.check import STORED_NAME
from core.uploads.contents import MEDIA_TYPES, RefusedFile
from core.uploads.schema import Schema, parse_schema
from core.uploads.stored import StoredFile

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Route)

_PARAMETER: Final = re.compile(r"""\s*([a-z]+)\s*=\s*"?([^\s;"]+)"?\s*""")
_DIGEST: Final = re.compile(r"([A-Za-z0-9-]+)\s*=\s*(:?)([A-Za-z0-9+/=]+)(:?)")
ALGORITHMS: Final = {"sha-256": 32, "sha-512": 64}
"""Algorithms of checksums, and the bytes that each gives."""


async def _show(services: Services, record: DatasetRecord, place: Place) -> dict[str, Any]:
    return dataset_json(services, record)


DATASETS: Final = ListedNoun[DatasetRecord](
    DATA_PREFIX,
    "/v1/datasets",
    lambda services: services.store.datasets,
    _show,
    lambda services, record, place: dataset_json(services, record),
    title="data set",
)
"""Data sets, for the calls that they share with jobs and studies."""

_FILE: Final = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES
        },
    },
}
_DIGEST_PARAMETERS: Final = [
    {
        "name": name,
        "in": "header",
        "description": "Checksum of the body (RFC 9530): `sha-256=:…:` or `sha-512=:…:`.",
        "schema": {"type": "string"},
    }
    for name in ("Content-Digest", "Digest")
]


@router.post(
    "",
    status_code=201,
    operation_id="create_dataset",
    response_class=Json,
    responses={
        201: {"model": Dataset, "headers": {"Location": header("The data set's path.")}},
        202: {
            "model": Dataset,
            "description": "The file is still being checked.",
            "headers": {
                "Location": header("The data set's path."),
                "Retry-After": header("Seconds.", type="integer"),
            },
        },
        **problems(409, 413, 415, 503),
    },
    openapi_extra={"parameters": [KEY_PARAMETER, *_DIGEST_PARAMETERS], **_FILE},
)
async def upload(request: Request, query: Annotated[UploadQuery, Query()]) -> Response:
    """Upload a file as the body of the request. It is checked before the reply, if that does not
    take long."""
    services = services_of(request)
    media_type = _media_type(request)
    schema = parse_schema(query.upload_schema) if query.upload_schema is not None else None
    checksums = _checksums(request)
    length = request.headers.get("content-length")
    received = await services.uploads.receive(
        request.stream(), None if length is None else int(length), frozenset(checksums)
    )
    try:
        _compare(received, checksums)
        record = _record(services, query, media_type, schema, received)
        if (caller := caller_of(request.scope)) is not None:
            record = replace(record, owner=caller.owner, key_id=caller.key.id)
        what = (record.sha256, media_type, record.schema, record.name, record.labels)
        idempotency = idempotency_of(request, services, "data", *what)
    except BaseException:
        received.let_go()
        raise
    try:
        found, replayed = await services.uploads.add(record, received, schema, idempotency)
    except RefusedFile as refusal:
        raise _refused(refusal) from refusal
    headers = {"Location": f"{services.root}{DATASETS.path}/{found.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if not found.terminal:
        headers["Retry-After"] = "1"
    return Json(to_json(dataset_json(services, found)), 201 if found.terminal else 202, headers)


def _media_type(request: Request) -> str:
    """Return the media type of the body. Raises `UnsupportedMediaTypeError`."""
    declared = request.headers.get("content-type", "")
    media_type, _, parameters = declared.partition(";")
    media_type = media_type.strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaTypeError(
            f"{media_type[:80] or 'A body without a Content-Type'} is no file that can be uploaded:"
            f" send the file as the body, with the Content-Type {', '.join(MEDIA_TYPES)}."
        )
    for each in filter(str.strip, parameters.lower().split(";")):
        found = _PARAMETER.fullmatch(each)
        taken = found and (
            (found[1] == "charset" and found[2] in {"utf-8", "utf8", "us-ascii"})
            or (found[1] == "header" and found[2] == "present")
        )
        if not taken:
            raise UnsupportedMediaTypeError(
                f"Content-Type: {each.strip()[:80]!r} is not understood: texts are UTF-8; a CSV"
                ' file without a header is uploaded with ?schema={"header": false}.'
            )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Bodies are taken as they are: send no Content-Encoding.")
    return media_type


def _checksums(request: Request) -> dict[str, bytes]:
    """Read the checksums that the body must have, by algorithm; others than those known are passed
    over (RFC 9530). Raises `InvalidInputError`."""
    wanted: dict[str, bytes] = {}
    for name in ("Content-Digest", "Digest"):
        text = request.headers.get(name.lower())
        for each in filter(str.strip, (text or "").split(",")):
            found = _DIGEST.fullmatch(each.strip())
            algorithm = found[1].lower() if found else ""
            if found and algorithm not in ALGORITHMS:
                continue
            try:
                digest = base64.b64decode(found[3], validate=True) if found else b""
            except binascii.Error:
                digest = b""
            if len(digest) != ALGORITHMS.get(algorithm):
                message = (
                    f"{name}: {each.strip()[:120]!r} is no checksum; write sha-256=:…: with the"
                    " base64 of the 32 bytes between the colons."
                )
                raise InvalidInputError([FieldError(name, "malformed", message)])
            wanted[algorithm] = digest
    return wanted


def _compare(received: Upload, checksums: dict[str, bytes]) -> None:
    for algorithm, wanted in checksums.items():
        found = received.digests[algorithm]
        if found != wanted:
            message = (
                f"Content-Digest: the body that came has the {algorithm}"
                f" {base64.b64encode(found).decode()}, and {base64.b64encode(wanted).decode()} was"
                " announced: send the file again."
            )
            raise InvalidInputError([FieldError("Content-Digest", "checksum_differs", message)])


def _record(
    services: Services,
    query: UploadQuery,
    media_type: str,
    schema: Schema | None,
    received: Upload,
) -> DatasetRecord:
    now, age_ms = utc_now(), round(1000 * services.settings.dataset_age_s)
    return DatasetRecord(
        id=new_id(DATA_PREFIX),
        status="checking",
        created_at=rfc3339(now),
        kind=MEDIA_TYPES[media_type],
        media_type=media_type,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        name=query.name,
        schema=None if schema is None else schema.to_json(),
        labels=dict(each.split(":", 1) for each in query.label),
        age_ms=age_ms,
        expires_ms=round(1000 * now.timestamp()) + age_ms if age_ms else 0,
    )


def _refused(refusal: RefusedFile) -> InvalidInputError:
    """Return the refusal of a file as one of the request: its place is the field."""
    param = refusal.column or refusal.entry or "body"
    mistake = FieldError(param, refusal.refusal_code, refusal.message)
    return RefusedUploadError(mistake, refusal.to_json())


@router.get(
    "",
    operation_id="list_datasets",
    response_class=Json,
    responses={200: {"model": DatasetPage}, **problems(503)},
)
async def list_datasets(request: Request, query: Annotated[DatasetsQuery, Query()]) -> Response:
    """List data sets, the newest first; the filters apply before the limit."""
    await services_of(request).store.datasets.reap_checks()
    return await read_list(request, DATASETS, query)


@router.get(
    "/{data_id:id}",
    operation_id="get_dataset",
    response_class=Json,
    responses={
        200: {
            "model": Dataset,
            "headers": {"ETag": header("Changes whenever the data set does.")},
        },
        304: {"description": "Unchanged since the ETag in If-None-Match."},
        **problems(404, 503),
    },
)
async def read_dataset(
    request: Request,
    data_id: DataIdPath,
    query: Annotated[JobQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=SECONDS`, as the query.")] = None,
) -> Response:
    """Return the data set, at once or once it has been checked."""
    await services_of(request).store.datasets.reap_checks()
    return await read_one(request, DATASETS, data_id, query, if_none_match, prefer)


@router.get(
    "/{data_id:id}/preview",
    operation_id="preview_dataset",
    response_class=Json,
    responses={200: {"model": DatasetPreview}, **problems(404, 409, 503)},
)
async def preview(
    request: Request, data_id: DataIdPath, query: Annotated[FirstRowsQuery, Query()]
) -> Response:
    """Return the first rows of a data set."""
    services = services_of(request)
    record = await services.store.datasets.get(known_id(data_id, DATA_PREFIX))
    if record.file is None:
        raise ConflictError(
            "not_ready", f"The data set is {record.status}; rows can be read once it is ready."
        )
    rows = []
    if record.kind != "weights":  # which have no rows
        rows = await asyncio.to_thread(_first_rows, services, record.file, query.rows)
    body = DatasetPreview.build(
        columns=columns_of(record), num_rows=(record.contents or {}).get("num_rows"), rows=rows
    )
    return Json(to_json(body))


def _first_rows(services: Services, file: str, count: int) -> list[dict[str, Any]]:
    artifacts = services.artifacts.job(file)
    try:
        path = artifacts.local_path(STORED_NAME)
        if path is not None and artifacts.exists(STORED_NAME):
            return StoredFile.open(path).preview(count)
        return StoredFile.from_ranges(
            lambda start, length: artifacts.read_range(STORED_NAME, start, length)
        ).preview(count)
    except NotFoundError as error:
        raise ArtifactError("the content of this data set is gone: upload it again") from error


@router.patch(
    "/{data_id:id}",
    operation_id="change_dataset",
    response_class=Json,
    responses={
        200: {
            "model": Dataset,
            "headers": {"ETag": header("Changes whenever the data set does.")},
        },
        **problems(404, 412, 413, 415, 503),
    },
    openapi_extra=request_body("DatasetPatch"),
)
async def change(
    request: Request,
    data_id: DataIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: change it as it is.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Change name, labels and keep_until: a JSON merge patch (RFC 7396)."""
    services = services_of(request)
    known_id(data_id, DATA_PREFIX)
    patch = parse_patch(await json_body(request, MERGE_PATCH))
    datasets = services.store.datasets
    expected = await expected_version(services, DATASETS, data_id, if_match, if_none_match)
    before = await datasets.get(data_id)
    labels = patch.labels_on(before.labels)
    # Labels are merged with those that were read: nobody may have changed them meanwhile.
    version = expected if labels is None else (expected or before.version)
    found = await datasets.update(data_id, version, labels, patch.changes())
    tag = DATASETS.tag(found.version, found.status)
    return Json(to_json(dataset_json(services, found)), headers={"ETag": tag})


@router.delete(
    "/{data_id:id}",
    status_code=204,
    operation_id="delete_dataset",
    response_class=Response,
    responses={204: {"description": "Gone."}, **problems(404, 409, 412, 503)},
)
async def delete(
    request: Request,
    data_id: DataIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: delete it as it is.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Remove a data set that no job or study uses which has not ended."""
    services = services_of(request)
    known_id(data_id, DATA_PREFIX)
    version = await expected_version(services, DATASETS, data_id, if_match, if_none_match)
    file = await services.store.datasets.remove(data_id, version)
    if file is not None:
        await remove_kept(services, file)
    return Response(status_code=204)
