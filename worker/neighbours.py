"""Which workers of this host are dead? Each holds a lock on a file of its own; the kernel lets go of it with the process,
however it ends. So a restarted service takes its jobs back at once instead of waiting for their leases to run out."""

import contextlib
import fcntl
import os
from pathlib import Path

from sqlalchemy import delete, select

from models.service import Worker
from models.session import Database


class Neighbours:
    def __init__(self, folder: Path, worker_id: str, host: str) -> None:
        self.folder, self.worker_id, self.host = folder, worker_id, host
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._path(worker_id), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def dead(self, database: Database) -> list[str]:
        """Ids of workers registered for this host whose lock nobody holds. One whose file is not here is not ours to judge."""
        with database.read() as session:
            others = session.scalars(select(Worker.id).where(Worker.host == self.host, Worker.id != self.worker_id)).all()
        return [other for other in others if self._abandoned(other)]

    def bury(self, database: Database, worker_ids: list[str]) -> None:
        with database.write() as session:
            session.execute(delete(Worker).where(Worker.id.in_(worker_ids)))
        for worker_id in worker_ids:
            self._path(worker_id).unlink(missing_ok=True)

    def leave(self, database: Database) -> None:
        with contextlib.suppress(Exception):
            self.bury(database, [self.worker_id])
        os.close(self._lock)

    def _abandoned(self, worker_id: str) -> bool:
        try:
            handle = os.open(self._path(worker_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(handle)

    def _path(self, worker_id: str) -> Path:
        return self.folder / f"{worker_id}.lock"
