"""The one Celery task: "there is work". It carries nothing; what to do is in the store."""

from celery import Celery

from core.broker import TASK
from worker.runner import Runner


def register(app: Celery, runner: Runner) -> None:
    """Give `app` the task that has `runner` run jobs until none is queued."""

    @app.task(name=TASK, ignore_result=True, acks_late=False)
    def work() -> None:
        # Held until the queue is empty, so that a busy worker takes no message that would wake an
        # idle one.
        runner.wait(runner.wake())
