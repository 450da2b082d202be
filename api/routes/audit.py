"""Who did what: keys, logins, deletions, refusals."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api import paging
from api.openapi import problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.wire import AuditAction, AuditView, Page
from models.audit import AuditEvent

router = APIRouter(prefix="/v1/audit", tags=["keys"], dependencies=[Depends(known_query)])


@router.get("", responses=problems(503))
def list_audit_events(
    services: In, caller: By, page: Paging, action: Annotated[list[AuditAction] | None, Query(description="Only these actions.")] = None
) -> Page[AuditView]:
    """What was done in the project, newest first: keys made, rotated and revoked, logins, deletions, refusals for want of room. Kept for
    `POTSTILL_AUDIT_DAYS`."""
    where = [AuditEvent.action.in_(action)] if action else []
    with services.database.read() as session:
        mine = AuditEvent.project_id == caller.project_id
        return paging.page(session, AuditEvent, page, paging.each(AuditEvent.view), within=mine, where=where)
