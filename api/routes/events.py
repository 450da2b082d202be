"""A job's history, as a list and live."""

from typing import Annotated, Literal, get_args

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse
from sqlalchemy import select
from starlette.responses import Response

from api import lookup, stream
from api.openapi import REF, content, problems
from api.paging import refused
from api.routing import known_query
from api.services import By, In
from contract.wire import EventView, Page
from models.job import Event

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["news"], dependencies=[Depends(known_query)], responses=problems(404, 503))
EventType = Literal["status", "phase", "metrics", "checkpoint", "log", "warning"]
STREAM = content("text/event-stream", "The stream.")
STREAM[200]["content"]["text/event-stream"]["itemSchema"] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": [*get_args(EventType), "done"]},
        "id": {"type": "string", "description": "The `seq` of the event; none in the last."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": [{"$ref": REF.format(model=model)} for model in ("EventView", "JobView")]},
        },
    },
}
After = Annotated[int, Query(ge=0, description="The last `seq` that is known already.")]


@router.get("")
def list_events(
    services: In,
    caller: By,
    job_id: str,
    after: After = 0,
    type: Annotated[list[EventType] | None, Query(description="Only these types.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Events on a page.")] = 20,
) -> Page[EventView]:
    """Events, oldest first; `after` takes the last `seq` of a page."""
    with services.database.read() as session:
        lookup.job(session, caller.project_id, job_id)
        query = select(Event).where(Event.job_id == job_id, Event.seq > stream.bounded(after))
        if type:
            query = query.where(Event.type.in_(type))
        rows = list(session.scalars(query.order_by(Event.seq).limit(limit + 1)))
    views = [EventView.model_validate(row, from_attributes=True) for row in rows[:limit]]
    first, last = (str(views[0].seq), str(views[-1].seq)) if views else (None, None)
    return Page(data=views, first_id=first, last_id=last, has_more=len(rows) > limit)


@router.get("/stream", response_class=Response, response_model=None, responses=STREAM)
async def stream_events(
    services: In,
    caller: By,
    job_id: str,
    after: After = 0,
    last_event_id: Annotated[str | None, Header(description="Where a lost stream stopped; goes before `after`.")] = None,
) -> Response:
    """Events as they happen, as server-sent events; ends with `event: done`, whose data is the final job."""
    if last_event_id is not None:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise refused("Last-Event-ID", "it must be the id of an event of this stream, a number")
        after = int(last_event_id[:19])
    await to_thread.run_sync(stream.must_exist, services.database, caller.project_id, job_id)
    told = stream.tell(services.news, caller.key_id, job_id, stream.bounded(after), services.settings.keepalive_seconds)
    return EventSourceResponse(told, headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
