"""The JSON schemas of what people write. Open, as editors carry no keys, and there is no secret in them."""

from typing import Any

from fastapi import APIRouter, Depends

from api.openapi import problems
from api.routing import known_query
from contract import schema

RESPONSES: dict[int | str, dict[str, Any]] = {status: problems()[status] for status in (400, 422)}
router = APIRouter(prefix="/schemas", tags=["registry"], dependencies=[Depends(known_query)], responses=RESPONSES)


@router.get("/job.json")
def get_job_schema() -> dict[str, Any]:
    """The JSON schema of a job spec: `# yaml-language-server: $schema=…/schemas/job.json` above a spec makes editors complete it."""
    return schema.job()


@router.get("/sweep.json")
def get_sweep_schema() -> dict[str, Any]:
    """The JSON schema of a sweep, which holds that of a job with nothing required."""
    return schema.sweep()
