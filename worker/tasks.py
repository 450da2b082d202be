"""The one task. It carries no work: the database says what is to be done."""

from celery import Celery

from models.settings import DOORBELL_TASK
from worker.celery_app import Look


def register(app: Celery, look: Look) -> None:
    @app.task(name=DOORBELL_TASK, ignore_result=True)
    def ring(job_id: str | None = None) -> None:
        look()
