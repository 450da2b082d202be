"""One job's events on the wire of server-sent events, each once and in order, and last the final job."""

from collections.abc import AsyncIterator

from anyio import to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from sqlalchemy import select

from api import lookup
from api.news import News
from contract.wire import EventView, JobView
from models.job import Event, Job
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


async def tell(news: News, job_id: str, after: int, keepalive: float) -> AsyncIterator[bytes]:
    async with news.watching(job_id) as watch:
        while True:
            events, job = await to_thread.run_sync(_look, news.database, job_id, after, limiter=news.threads)
            for event in events:
                after = event.seq
                yield format_sse_event(event=event.type, id=str(event.seq), data_str=_one_line(event))
            if len(events) == BATCH:
                continue
            if job is None:
                return  # deleted
            if job.status.final:
                yield format_sse_event(event="done", data_str=_one_line(job))
                return
            while not news.closing and not await watch.wait(keepalive):
                yield KEEPALIVE_COMMENT
            if news.closing:
                return


def _one_line(view: BaseModel) -> str:
    """JSON without the characters that many clients, and Python's splitlines, take for line ends."""
    return view.model_dump_json().translate(LINE_ENDS)


def _look(database: Database, job_id: str, after: int) -> tuple[list[EventView], JobView | None]:
    """Events after `after` and the job. The job is read first: all events of a final one are there to be read after it."""
    with database.read() as session:
        job = session.get(Job, job_id)
        view = job.view() if job is not None else None
        rows = session.scalars(select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(BATCH))
        return [EventView.model_validate(row, from_attributes=True) for row in rows], view
