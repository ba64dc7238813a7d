"""Conversion of a delivery's record to the JSON that the contract shows."""

from api.services.dependencies import Services
from api.webhooks.schemas import DeliveryAttempt, DeliveryLinks, WebhookDelivery
from core.specs.base import Json
from core.webhooks.delivery import Delivery


def delivery_json(services: Services, delivery: Delivery) -> Json:
    """Make the contract's JSON of a delivery."""
    of = delivery.subject or ""
    job_id = of if of.startswith("job_") else None
    study_id = of if of.startswith("study_") else None
    root = f"{services.root}/v1"
    return WebhookDelivery.build(
        delivery,
        event=delivery.type,
        job_id=job_id,
        study_id=study_id,
        url=delivery.origin,
        next_attempt_at=delivery.next_try_at,
        num_attempts=delivery.num_tries,
        attempts=[DeliveryAttempt.build(each) for each in delivery.tries],
        links=DeliveryLinks.build(
            self=f"{root}/webhooks/deliveries/{delivery.id}",
            job=job_id and f"{root}/jobs/{job_id}",
            study=study_id and f"{root}/studies/{study_id}",
        ),
    )
