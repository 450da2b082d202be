"""W3C trace context: taken from the request, kept with the job, given to the worker."""

import re
from typing import Annotated

from fastapi import Depends, Header

SANE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


async def _traceparent(
    traceparent: Annotated[str | None, Header(description="W3C trace context, carried to the worker.")] = None,
) -> str | None:
    """A malformed one is ignored, as the standard asks."""
    return traceparent if traceparent is not None and SANE.fullmatch(traceparent) else None


Traceparent = Annotated[str | None, Depends(_traceparent)]
