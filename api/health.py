"""Whether this process can do its work: a database that answers, with the tables this version needs; and how broker and
workers are."""

from datetime import datetime

import anyio
from anyio import to_thread
from sqlalchemy import select

from api.queue import Bell
from contract.errors import PotstillError, Unavailable
from models.base import REVISION, now
from models.schema import oldest, refuse_other, revision
from models.service import SILENCE, Worker
from models.session import Database

NAMED = 5  # workers in trouble that /readyz names


def workers(database: Database, version: str) -> str:
    """ "ok", or what is the matter with the workers, and what to do."""
    with database.read() as session:
        moment = session.scalar(select(now()))
        alive = session.scalars(select(Worker).where(Worker.last_heartbeat_at > now(-SILENCE)).order_by(Worker.id)).all()
    served = oldest(database) or REVISION, revision(database) or REVISION
    found = [(worker, _trouble(worker, moment, version, served)) for worker in alive]
    troubles = [f"{worker.id} on host {worker.host} {trouble}" for worker, trouble in found if trouble]
    if not alive:
        return "none is alive; jobs wait until one starts"
    more = [f"and {len(troubles) - NAMED} more"] if len(troubles) > NAMED else []
    return "; ".join([*troubles[:NAMED], *more]) or "ok"


def _trouble(worker: Worker, moment: datetime | None, version: str, served: tuple[str, str]) -> str | None:
    """served: the oldest and the newest revision whose code works with the database."""
    made_for = worker.revision or ""
    if made_for != REVISION:
        idle = "" if served[0] <= made_for <= served[1] else ", and takes no jobs"
        return f"is made for tables {worker.revision}, not {REVISION}{idle}: upgrade {'it' if made_for < REVISION else 'the API'}"
    if worker.version != version:
        return f"runs version {worker.version}, the API {version}: upgrade the older one"
    if worker.deaf_since is not None and moment is not None:
        return f"has been deaf for {(moment - worker.deaf_since).total_seconds():.0f} s; it finds jobs by looking"
    return None


async def readiness(database: Database, head: str | None, version: str, bell: Bell, patience: float) -> dict[str, str]:
    """What was checked, each with how it is. Raises Unavailable where jobs could not be taken; a silent broker or a worker in
    trouble is no such thing."""
    checks = {"database": "ok", "migrations": "ok" if head is not None else "not checked", "broker": "ok"}
    answered = False
    with anyio.move_on_after(patience):
        try:
            if head is not None:
                await to_thread.run_sync(refuse_other, database, head, abandon_on_cancel=True)
            checks["workers"] = await to_thread.run_sync(workers, database, version, abandon_on_cancel=True)
        except PotstillError as error:
            raise Unavailable(f"Not ready: {error.detail}", hint=error.hint, headers={"Retry-After": "2"}) from error
        answered = True
    if not answered:
        raise Unavailable(f"Not ready: the database did not answer within {patience:g} s.", headers={"Retry-After": "2"})
    with anyio.move_on_after(2 * patience):
        if await to_thread.run_sync(bell.reachable, abandon_on_cancel=True):
            return checks
    return checks | {"broker": "not reachable; workers find jobs by looking for them"}
