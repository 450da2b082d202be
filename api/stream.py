"""One job's events on the wire of server-sent events, each once and in order, and last the final job."""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from sqlalchemy import select

from api import lookup
from api.news import News
from contract.status import FINAL
from contract.wire import EventView
from models.job import Event, Job
from models.project import Key, in_force
from models.session import Database

BATCH = 200  # events read at once
LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
LARGEST = 2**31 - 1  # of a seq, as the databases count


def bounded(after: int) -> int:
    """Beyond the end is beyond the end, also for a database with smaller numbers."""
    return min(after, LARGEST)


def must_exist(database: Database, project_id: str, job_id: str) -> None:
    with database.read() as session:
        lookup.job(session, project_id, job_id)


class _Look(NamedTuple):
    """What there was to tell, ready to be sent: events and, of a final job, its end. Streams that are equally far share one."""

    told: bytes
    after: int
    more: bool
    over: bool


async def tell(news: News, key_id: str, job_id: str, after: int, keepalive: float) -> AsyncIterator[bytes]:
    """Ends with the job, or with the key it was opened with."""
    async with news.watching(job_id) as watch:
        while True:
            place = key_id, job_id, after
            look = await news.shared(watch, place, partial(_look, news.database, *place))
            after = look.after
            if look.told:
                yield look.told
            if look.over:
                return
            if look.more:
                continue
            while not news.closing and not await watch.wait(keepalive):
                yield KEEPALIVE_COMMENT
            if news.closing:
                return


def _one_line(view: BaseModel) -> str:
    """JSON without the characters that many clients, and Python's splitlines, take for line ends."""
    return view.model_dump_json().translate(LINE_ENDS)


def _look(database: Database, key_id: str, job_id: str, after: int) -> _Look:
    """Events after `after` and the job. The job is read first: all events of a final one are there to be read after it."""
    with database.read() as session:
        job = session.get(Job, job_id)
        if job is None or session.scalar(select(Key.id).where(Key.id == key_id, in_force())) is None:
            return _Look(b"", after, more=False, over=True)  # deleted, or not for this key any more
        final = job.view() if job.status in FINAL else None
        rows = session.scalars(select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(BATCH))
        events = [EventView.model_validate(row, from_attributes=True) for row in rows]
    told = [format_sse_event(event=event.type, id=str(event.seq), data_str=_one_line(event)) for event in events]
    after, more = events[-1].seq if events else after, len(events) == BATCH
    if final is not None and not more:
        told.append(format_sse_event(event="done", data_str=_one_line(final)))
    return _Look(b"".join(told), after, more, over=final is not None and not more)
