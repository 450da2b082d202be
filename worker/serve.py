"""A worker process from boot to farewell. Run as `python -P -c "from worker.serve import main; main()"`: not as a module or a
script, because trainers would import whatever `__main__` is."""

import importlib.metadata
import os
import signal
import sys
import threading
from types import FrameType

import structlog

from contract.errors import PotstillError
from models import schema
from models.blobs import Blobs
from models.process import leave_on_hangup, log_to_stderr
from models.session import Database
from worker import forkserver
from worker.doorbell import Doorbell
from worker.settings import Settings
from worker.supervisor import Supervisor

log = structlog.get_logger()


def main() -> None:
    forkserver.prepare_environment()
    settings = Settings()
    log_to_stderr(settings)
    try:
        serve(settings)
    except PotstillError as error:
        sys.stderr.write(f"error: {error.detail}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        sys.exit(1)


def serve(settings: Settings) -> None:
    """Works until SIGTERM, SIGINT or SIGHUP, then gives its jobs back at a checkpoint."""
    leaving = Leaving()
    database = Database(settings.database())
    database.ping()
    schema.refuse_other(database)
    server = forkserver.start()
    supervisor = Supervisor(
        settings, database, Blobs(settings.artifacts(), nearby=settings.copies_folder()), server, importlib.metadata.version("potstill")
    )
    supervisor.start()
    doorbell = Doorbell(settings, database, supervisor.id, supervisor.look)
    doorbell.start()
    log.info("ready", worker=supervisor.id, host=settings.host_id, slots=settings.slots, threads=settings.threads())
    leaving.asked.wait()
    log.info("leaving")
    doorbell.stop()
    supervisor.stop()
    database.dispose()
    os._exit(0)  # Celery's threads may be waiting for a broker that is not there


class Leaving:
    """Asked once, the worker leaves in order; a second Ctrl-C ends it at once, and its lease tells the others."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._interrupts = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self)
        leave_on_hangup(self)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            os._exit(130)
        self.asked.set()
