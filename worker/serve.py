"""A worker process from boot to farewell. Run as `python -P -c "from worker.serve import main; main()"`: not as a module or a
script, because trainers would import whatever `__main__` is."""

import importlib.metadata
import os
import signal
import sys
import threading

import structlog

from contract.errors import PotstillError
from models.blobs import Blobs
from models.session import Database
from worker import forkserver, tasks
from worker.celery_app import make_app, make_worker
from worker.settings import Settings
from worker.supervisor import Supervisor

log = structlog.get_logger()


def main() -> None:
    forkserver.prepare_environment()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        serve(Settings())
    except PotstillError as error:
        sys.stderr.write(f"error: {error.detail}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        sys.exit(1)


def serve(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT, then gives its jobs back at a checkpoint."""
    leaving = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leaving.set())
    context = forkserver.start()
    database = Database(settings.database())
    database.ping()
    supervisor = Supervisor(settings, database, Blobs(settings.artifacts()), context, importlib.metadata.version("potstill"))
    app = make_app(settings)
    tasks.register(app, supervisor.look)
    supervisor.start()
    doorbell = make_worker(app, f"{supervisor.id}@{settings.host_id}")
    threading.Thread(target=_listen, args=(doorbell,), name="doorbell", daemon=True).start()
    log.info("ready", worker=supervisor.id, host=settings.host_id, slots=settings.slots, threads=settings.threads())
    leaving.wait()
    log.info("leaving")
    supervisor.stop()
    database.dispose()
    sys.stderr.flush()
    os._exit(0)  # Celery's threads may be waiting for a broker that is not there


def _listen(doorbell: object) -> None:
    """Without a broker the worker goes on by looking every poll_seconds; it only starts a little later."""
    try:
        doorbell.start()  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - nothing about the doorbell may end the worker
        log.error("the doorbell broke; going on by polling", error=str(error))
