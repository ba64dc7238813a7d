# Written by scripts/client_code.py from _async/webhooks.py. Do not edit by hand.
"""Deliveries of webhooks: what was sent to receivers, and what came of it."""

from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import Any, Literal

from thalweg._sync.transport import Transport, listed, place
from thalweg.errors import WaitTimeoutError

Format = Literal["standard", "slack", "discord", "feishu", "dingtalk", "wecom"]
POLL_S = 0.2
"""Seconds between two looks at a trial."""
TRIAL_S = 30.0
"""Seconds for which a trial is awaited."""


class Webhooks:
    """The deliveries of a service: `client.webhooks`. A delivery is a dict, as replies have it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def deliveries(
        self,
        *,
        job: str | None = None,
        study: str | None = None,
        status: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Go through the deliveries, the newest first.

        Args:
            job: the id of a job that they tell of.
            study: the id of a study that they tell of.
            status: `waiting`, `delivered`, `failed` or `gone`, or several of them.
            limit: the most of them; left out, all.
        """
        query = {"job": job, "study": study, "status": listed(status)}
        for each in self._transport.pages("/v1/webhooks/deliveries", dict, query, limit):
            yield each

    def get(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Read a delivery. Raises `NotFoundError`."""
        path = place("webhooks", "deliveries", id)
        found: dict[str, Any] = self._transport.json("GET", path)
        return found

    def redeliver(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Have a message sent once more: the same, under its id. Raises `NotFoundError`."""
        path = place("webhooks", "deliveries", id, "redeliver")
        found: dict[str, Any] = self._transport.json("POST", path)
        return found

    def test(
        self,
        url: str,
        *,
        format: Format = "standard",  # noqa: A002
        timeout_s: float = TRIAL_S,
    ) -> dict[str, Any]:
        """Have a trial sent to a URL, and return its delivery once it has come to an end:
        `delivered`, or `failed` with the reason in `attempts`.

        Raises `InvalidRequestError` for a URL that the service calls never, and
        `WaitTimeoutError` where no worker has sent it in time.
        """
        body = {"url": url, "format": format}
        found: dict[str, Any] = self._transport.json(
            "POST", "/v1/webhooks/test", body=body, repeatable=False
        )
        until = monotonic() + timeout_s
        while found["status"] == "waiting":
            if monotonic() >= until:
                raise WaitTimeoutError(
                    f"No worker has sent the trial {found['id']} within {timeout_s:g} s"
                )
            sleep(POLL_S)
            found = self.get(found["id"])
        return found
