"""How the service is, for machines that look after it. Open, as they carry no keys."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

from api import health
from api.openapi import content, problems
from api.services import In

router = APIRouter(tags=["service"])
METRICS = content("text/plain", "Prometheus' text format.")


def _of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors alone: what is open asks for nothing that could be wrong, but a key in its address."""
    return {status: problems(503)[status] for status in statuses}


class Live(BaseModel):
    status: str = "alive"


class Ready(BaseModel):
    status: str = "ready"
    checks: dict[str, str]


@router.get("/livez", responses=_of(400))
async def get_liveness() -> Live:
    """Whether the process answers at all."""
    return Live()


@router.get("/readyz", responses=_of(400, 503))
async def get_readiness(request: Request, services: In) -> Ready:
    """Whether jobs can be taken: the database answers and has this version's tables. A silent broker and workers in trouble only
    show in `checks`."""
    patience = services.settings.database_timeout_seconds
    version = request.app.version
    return Ready(checks=await health.readiness(services.database, services.schema_head, version, services.bell, patience))


@router.get("/metrics", response_class=Response, response_model=None, responses=METRICS | _of(400, 503))
def get_service_metrics(services: In) -> Response:
    """Numbers for Prometheus; behind a key unless the service listens on a loopback address."""
    return Response(services.telemetry.exposition(services.database), media_type=CONTENT_TYPE_LATEST)
