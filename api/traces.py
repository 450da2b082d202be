"""Where a submission comes from, kept with its jobs and given to the worker: the request's id, and W3C trace context."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from models.job import Origin

SANE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


async def _origin(
    request: Request,
    traceparent: Annotated[str | None, Header(description="W3C trace context, carried to the worker.")] = None,
) -> Origin:
    """A malformed trace is ignored, as the standard asks."""
    return Origin(request.state.request_id, traceparent if traceparent is not None and SANE.fullmatch(traceparent) else None)


From = Annotated[Origin, Depends(_origin)]
