"""API keys of the caller's project: create, list, revoke."""

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import lookup, paging
from api.bodies import Document
from api.idempotency import Created, Sent
from api.openapi import document, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.base import Metadata
from contract.base import Sent as SentModel
from contract.check import checked
from contract.spec import Name
from contract.wire import KeyView, Page
from models.base import now
from models.project import Key, Project, add_key, new_secret

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(known_query)])


class KeyRequest(SentModel):
    """The body of POST /v1/keys."""

    name: Name = Field(description="Who or what it is for.")
    metadata: Metadata = Field(default={})


@router.post("", status_code=201, response_model=KeyView, openapi_extra=document(KeyRequest), responses=problems(400, 409, 413, 415, 503))
def create(services: In, caller: By, sending: Sent, body: Document) -> Response:
    """Create a key. Its secret is in this answer and nowhere else; a repeated request gets the key without it."""

    def store(session: Session, wanted: KeyRequest) -> Created:
        secret = new_secret()
        key = add_key(session, session.get_one(Project, caller.project_id), wanted.name, secret)
        key.meta = dict(wanted.metadata)
        view = _view(key)
        return Created(201, view.model_copy(update={"secret": secret}), f"/v1/keys/{key.id}", kept=view)

    return services.idempotency.once(sending, body.sha256, lambda: checked(KeyRequest, body.mapping()), store)


@router.get("", responses=problems(503))
def list_keys(services: In, caller: By, page: Paging) -> Page[KeyView]:
    """Keys, newest first; revoked ones too."""
    with services.database.read() as session:
        return paging.page(session, Key, page, _view, within=Key.project_id == caller.project_id)


@router.delete("/{key_id}", status_code=204, response_model=None, responses=problems(404, 503))
def revoke(services: In, caller: By, key_id: str) -> Response:
    """Revoke a key, from now on. What it created stays; doing it again changes nothing."""
    with services.database.write() as session:
        key = lookup.key(session, caller.project_id, key_id)
        if key.revoked_at is None:
            key.revoked_at = now()
    return Response(status_code=204)


def _view(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        project=key.project.name,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        metadata=key.meta,
    )
