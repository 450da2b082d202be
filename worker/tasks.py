"""The two tasks. They carry no work: the database says what is to be done."""

from collections.abc import Callable

from celery import Celery

from models.settings import DOORBELL_TASK

PING_TASK = "potstill.ping"


def register(app: Celery, look: Callable[[], None], hear: Callable[[], None]) -> None:
    @app.task(name=DOORBELL_TASK, ignore_result=True, shared=False)
    def ring(job_id: str | None = None) -> None:
        look()

    @app.task(name=PING_TASK, ignore_result=True, shared=False)
    def ping() -> None:
        hear()
