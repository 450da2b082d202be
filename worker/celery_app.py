"""Celery as the doorbell: a message means "look at the database", and is acknowledged before anything is done about it."""

from collections.abc import Callable

from celery import Celery
from celery.worker import WorkController

from models.settings import DOORBELL_QUEUE, StoreSettings


def make_app(settings: StoreSettings) -> Celery:
    url, options = settings.broker()
    app = Celery("potstill", broker=url, set_as_current=False)
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        task_default_queue=DOORBELL_QUEUE,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    return app


def make_worker(app: Celery, name: str) -> WorkController:
    """A Celery worker that runs in a thread of ours and leaves signals alone. Its pool is of threads: prefork children are
    daemonic and could not start a trainer, solo would not answer while busy."""
    return WorkController(
        app=app,
        hostname=name,
        pool="threads",
        concurrency=1,
        loglevel="WARNING",
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )


Look = Callable[[], None]
