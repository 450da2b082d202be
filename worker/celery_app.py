"""Celery as the doorbell: a message means "look at the database", and is acknowledged before anything is done about it."""

from typing import Any

from celery import Celery
from celery.worker import WorkController
from kombu.entity import Queue

from models.settings import DOORBELL_QUEUE, StoreSettings
from worker import files

KEPT_SECONDS = 60  # a ping that nobody fetches; what a dead worker leaves in Redis is gone after that
REDIS = ("redis", "rediss", "sentinel")


def own_queue(worker_id: str, **options: Any) -> Queue:
    """A worker's own queue: reached by its name alone, so that no binding is left in the broker when the worker is gone."""
    name = f"{DOORBELL_QUEUE}.{worker_id}"
    return Queue(name, routing_key=name, **options)


def make_app(settings: StoreSettings, worker_id: str) -> Celery:
    """The ear."""
    app = _app(settings, socket_timeout=5, health_check_interval=5, ack_emulation=False)  # what is lost is found by looking
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # Celery's own hundred are over after an hour, and the consumer with them
        task_queues=[Queue(DOORBELL_QUEUE, routing_key=DOORBELL_QUEUE), own_queue(worker_id)],
        task_acks_late=False,
        worker_prefetch_multiplier=0,  # no limit: else each ring waits for the one before it to be acknowledged
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    app.set_default()  # the pool's threads look tasks up in the default application
    return app


def make_ringer(settings: StoreSettings) -> Celery:
    """The hand that pings: gives up at once, because a ping that waits for its broker tells nothing."""
    app = _app(settings, socket_timeout=2, max_retries=0)
    app.conf.update(broker_connection_retry=False, broker_pool_limit=1, broker_connection_timeout=2, task_publish_retry=False)
    return app


def _app(settings: StoreSettings, **redis: Any) -> Celery:
    """No wait for a Redis without an end: one that is stopped, or behind a network that is gone, takes everything and says
    nothing."""
    files.install()
    url, options = settings.broker()
    if url.startswith(REDIS):
        options = {**options, "socket_connect_timeout": redis["socket_timeout"], "socket_keepalive": True, **redis}
    app = Celery("potstill", broker=url, set_as_current=False)
    app.conf.update(broker_transport_options=options, task_default_queue=DOORBELL_QUEUE, task_ignore_result=True)
    return app


def make_worker(app: Celery, name: str) -> WorkController:
    """A Celery worker that runs in a thread of ours and leaves signals alone. Its pool is of threads: prefork children are
    daemonic and could not start a trainer, solo would not answer while busy. No event loop: that is one for the whole process,
    and a consumer that hangs must be replaceable."""
    return WorkController(
        app=app,
        hostname=name,
        pool="threads",
        concurrency=1,
        loglevel="WARNING",
        use_eventloop=False,
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )
