"""How the service is, for machines that look after it. Open, as they carry no keys."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

from api import health
from api.openapi import content, problems
from api.services import In

router = APIRouter(tags=["service"])
METRICS = content("text/plain", "Prometheus' text format.")


class Live(BaseModel):
    status: str = "alive"


class Ready(BaseModel):
    status: str = "ready"
    checks: dict[str, str]


@router.get("/livez")
async def livez() -> Live:
    """Whether the process answers at all."""
    return Live()


@router.get("/readyz", responses={503: problems(503)[503]})
async def readyz(request: Request, services: In) -> Ready:
    """Whether jobs can be taken: the database answers and has this version's tables. A silent broker and workers in trouble only
    show in `checks`."""
    patience = services.settings.database_timeout_seconds
    version = request.app.version
    return Ready(checks=await health.readiness(services.database, services.schema_head, version, services.bell, patience))


@router.get("/metrics", response_class=Response, response_model=None, responses=METRICS | {503: problems(503)[503]})
def metrics(services: In) -> Response:
    """Numbers for Prometheus; behind a key unless the service listens on a loopback address."""
    return Response(services.telemetry.exposition(services.database), media_type=CONTENT_TYPE_LATEST)
