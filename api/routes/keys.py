"""API keys of the caller's project: create, list, rotate, revoke."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field, Strict
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import lookup, paging
from api.auth import Caller
from api.bodies import Document
from api.idempotency import Created, Sent
from api.openapi import document, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.base import Metadata
from contract.base import Sent as SentModel
from contract.check import checked
from contract.errors import Conflict
from contract.scope import Scope, widest
from contract.spec import Name
from contract.wire import KeyView, LoginLinkView, Page
from models import audit, browser
from models.base import now
from models.project import Key, Project, add_key, rotate
from models.secret import new_secret

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(known_query)])
links = APIRouter(prefix="/v1/login-links", tags=["keys"], dependencies=[Depends(known_query)])
LONGEST = 10 * 366 * 86_400  # seconds
# Words of a document; strict checking would want members of the class.
Scopes = Annotated[list[Annotated[Scope, Strict(False)]], Field(min_length=1, max_length=len(Scope))]


class KeyRequest(SentModel):
    """The body of POST /v1/keys."""

    name: Name = Field(description="Who or what it is for.")
    scopes: Scopes = Field(default=[Scope.READ, Scope.SUBMIT], description="What it may do; each scope holds those before it.")
    expires_in_seconds: int | None = Field(default=None, ge=1, le=LONGEST, description="After that it is refused; null: never.")
    metadata: Metadata = Field(default={})


class Rotation(SentModel):
    """The body of POST /v1/keys/{id}/rotate; it may be left out."""

    grace_seconds: int = Field(default=3600, ge=0, le=LONGEST, description="How long earlier secrets, and sessions, go on working.")


@router.post("", status_code=201, response_model=KeyView, openapi_extra=document(KeyRequest), responses=problems(400, 409, 413, 415, 503))
def create_key(services: In, caller: By, sending: Sent, body: Document) -> Response:
    """Create a key. Its secret is in this answer and nowhere else; a repeated request gets the key without it."""

    def store(session: Session, wanted: KeyRequest) -> Created:
        return _told(201, *add(session, caller, wanted))

    return services.idempotency.once(sending, body.sha256, lambda: parse(body.mapping()), store)


@router.get("", responses=problems(503))
def list_keys(services: In, caller: By, page: Paging) -> Page[KeyView]:
    """Keys, newest first; revoked ones too."""
    with services.database.read() as session:
        return paging.page(session, Key, page, paging.each(view), within=Key.project_id == caller.project_id)


@router.post(
    "/{key_id}/rotate",
    response_model=KeyView,
    openapi_extra=document(Rotation, required=False),
    responses=problems(400, 404, 409, 413, 415, 503),
)
def rotate_key(services: In, caller: By, sending: Sent, key_id: str, body: Document) -> Response:
    """Give a key another secret. The old one works for `grace_seconds` more, so that whoever uses it can change over; 0 for one that
    somebody else knows."""

    def store(session: Session, wanted: Rotation) -> Created:
        key, secret = lookup.key(session, caller.project_id, key_id), new_secret()
        if key.revoked_at is not None:
            raise Conflict(f"{key.id} was revoked and cannot be rotated.", hint="Make a new one: potstill keys create NAME")
        rotate(session, key, secret, wanted.grace_seconds)
        browser.shorten(session, key.id, wanted.grace_seconds)
        audit.record(session, caller, "key.rotated", key.id, name=key.name, grace_seconds=wanted.grace_seconds)
        return _told(200, key, secret)

    return services.idempotency.once(sending, body.sha256, lambda: checked(Rotation, body.mapping() if body.raw else {}), store)


@links.post("", status_code=201, responses=problems(503))
def create_login_link(services: In, caller: By) -> LoginLinkView:
    """Make a link that lets one browser in once, within ten minutes, in this key's name."""
    with services.database.write() as session:
        return LoginLinkView(path=f"/login?once={browser.new_link(session, caller.key_id)}", expires_in_seconds=browser.LINK_SECONDS)


@router.delete("/{key_id}", status_code=204, response_model=None, responses=problems(404, 503))
def revoke_key(services: In, caller: By, key_id: str) -> Response:
    """Revoke a key, from now on. What it created stays; doing it again changes nothing."""
    with services.database.write() as session:
        end(session, caller, lookup.key(session, caller.project_id, key_id))
    return Response(status_code=204)


def parse(sent: dict[str, object]) -> KeyRequest:
    return checked(KeyRequest, sent)


def add(session: Session, caller: Caller, wanted: KeyRequest) -> tuple[Key, str]:
    """The new key and its secret. Only `admin` comes here, the widest scope, so no key makes one that reaches farther."""
    secret, project = new_secret(), session.get_one(Project, caller.project_id)
    key = add_key(session, project, wanted.name, secret, widest(wanted.scopes), wanted.expires_in_seconds)
    key.meta = dict(wanted.metadata)
    audit.record(session, caller, "key.created", key.id, name=key.name, scopes=[*Scope(key.scope).held()])
    session.flush()
    session.refresh(key)
    return key, secret


def end(session: Session, caller: Caller, key: Key) -> None:
    """Revokes a locked key; one that is revoked stays as it is."""
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(session, caller, "key.revoked", key.id, name=key.name)


def _told(status: int, key: Key, secret: str) -> Created:
    shown = view(key)
    return Created(status, shown.model_copy(update={"secret": secret}), f"/v1/keys/{key.id}", kept=shown)


def view(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        project=key.project.name,
        scopes=Scope(key.scope).held(),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        metadata=key.meta,
    )
