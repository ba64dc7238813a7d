"""Webhooks: the log of deliveries, a delivery once more, a trial."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.conditional import wait_of
from api.http.encoding import to_json
from api.http.openapi import header, problems, request_body
from api.http.paging import fingerprint, make_cursor, page_body, read_cursor
from api.http.queries import DeliveriesQuery, JobQuery
from api.keys.gate import caller_of
from api.services.dependencies import Json, Route, json_body, known_id, no_body, services_of
from api.services.queueing import check_signed
from api.webhooks.schemas import WebhookDelivery, WebhookDeliveryPage
from api.webhooks.views import delivery_json
from core.ids import MESSAGE_PREFIX, is_id, pattern_of
from core.specs.parsing.webhook import parse_trial

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=Route)

PATH: Final = "/v1/webhooks/deliveries"
DeliveryIdPath = Annotated[
    str,
    Path(
        description="`msg_` and 26 characters.",
        json_schema_extra={"pattern": pattern_of(MESSAGE_PREFIX)},
    ),
]
_ACCEPTED: Final = {"Location": header("The delivery's path.")}


@router.get(
    "/deliveries",
    operation_id="list_webhook_deliveries",
    response_class=Json,
    responses={200: {"model": WebhookDeliveryPage}, **problems(503)},
)
async def list_deliveries(request: Request, query: Annotated[DeliveriesQuery, Query()]) -> Response:
    """List deliveries, the newest first; those that ended are kept for a week."""
    services = services_of(request)
    of = fingerprint("deliveries", sorted(set(query.status)), query.job, query.study)
    if query.job is not None and query.study is not None:
        return Json(to_json(page_body([], None)))
    after_id = None
    if query.after is not None:
        after_id = read_cursor(of, query.after, lambda text: is_id(text, MESSAGE_PREFIX))
    subject = query.job or query.study
    known = {} if subject is None else {"of": subject}
    found = await services.store.webhooks.list(query.status, known, query.limit, after_id)
    shown = [delivery_json(services, each) for each in found.deliveries]
    last = found.deliveries[-1].id if found.has_more and found.deliveries else None
    return Json(to_json(page_body(shown, last and make_cursor(of, last))))


@router.get(
    "/deliveries/{delivery_id:id}",
    operation_id="get_webhook_delivery",
    response_class=Json,
    responses={200: {"model": WebhookDelivery}, **problems(404, 503)},
)
async def read_delivery(
    request: Request, delivery_id: DeliveryIdPath, query: Annotated[JobQuery, Query()]
) -> Response:
    """Return a delivery, at once or once nobody tries it any more."""
    services = services_of(request)
    known_id(delivery_id, MESSAGE_PREFIX)
    wait, headers = wait_of(query.wait, None)
    webhooks = services.store.webhooks
    if wait:
        found = await services.feed.wait_until_terminal(delivery_id, wait, webhooks.get)
    else:
        found = await webhooks.get(delivery_id)
    return Json(to_json(delivery_json(services, found)), headers=headers)


@router.post(
    "/deliveries/{delivery_id:id}/redeliver",
    status_code=202,
    operation_id="redeliver_webhook",
    response_class=Json,
    responses={202: {"model": WebhookDelivery}, **problems(404, 413, 503)},
)
async def redeliver(request: Request, delivery_id: DeliveryIdPath) -> Response:
    """Send a message once more, whatever has become of it: the same, under its id."""
    services = services_of(request)
    known_id(delivery_id, MESSAGE_PREFIX)
    await no_body(request)
    found = await services.store.webhooks.redeliver(delivery_id)
    return Json(to_json(delivery_json(services, found)), 202)


@router.post(
    "/test",
    status_code=202,
    operation_id="test_webhook",
    response_class=Json,
    responses={
        202: {"model": WebhookDelivery, "headers": _ACCEPTED},
        **problems(413, 415, 503),
    },
    openapi_extra=request_body("WebhookTrial"),
)
async def test(request: Request) -> Response:
    """Have a worker send a trial to a URL, once: nothing has happened, and the event is
    `webhook.test`. What came of it stands in the delivery."""
    services = services_of(request)
    asked = parse_trial(await json_body(request), services.limits)
    await check_signed(services, "url")
    caller = caller_of(request.scope)
    owner = None if caller is None else caller.owner
    found = await services.store.webhooks.send_trial(asked.url, asked.format, owner)
    path = f"{services.root}{PATH}/{found.id}"
    return Json(to_json(delivery_json(services, found)), 202, {"Location": path})
