"""Webhooks of the caller's project: create, find, change, rotate, test, delete; and what was delivered."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import changes, lookup, paging
from api.bodies import Document
from api.idempotency import Created, Sent
from api.openapi import document, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.base import Metadata
from contract.base import Sent as SentModel
from contract.check import checked
from contract.errors import Conflict, QuotaExceeded
from contract.webhooks import ENDINGS, EventType
from contract.wire import DeliveryView, Page, WebhookView
from models import outbox, quotas
from models.base import now
from models.ids import new_id
from models.webhook import OLD_SECRET_SECONDS, Message, Webhook, new_secret

MOST = 32  # of a project: what becomes of a job is written for each of them in one transaction
router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=[Depends(known_query)])
Url = Annotated[str, Field(min_length=1, max_length=2048, description="Where messages go; https, unless the operator allows this host.")]
Events = Annotated[list[EventType], Field(min_length=1, max_length=100, description="What it is told of.")]
Enabled = Annotated[bool, Field(description="While it is not, nothing is written for it, and what waits goes on waiting.")]


class WebhookRequest(SentModel):
    """The body of POST /v1/webhooks."""

    url: Url
    events: Events = Field(default=ENDINGS)
    enabled: Enabled = True
    metadata: Metadata = Field(default={})


class WebhookChanges(SentModel):
    """The body of PATCH /v1/webhooks/{id}: what is not named stays."""

    url: Url | None = None
    events: Events | None = None
    enabled: Enabled | None = None
    metadata: Metadata | None = Field(default=None, description="Replaces all there is.")


@router.post(
    "", status_code=201, response_model=WebhookView, openapi_extra=document(WebhookRequest), responses=problems(400, 409, 413, 415, 503)
)
def create_webhook(services: In, caller: By, sending: Sent, body: Document) -> Response:
    """Create a webhook: messages after the Standard Webhooks specification about jobs and sweeps, not about runs and trials. Its secret is
    in this answer and nowhere else; a repeated request gets the webhook without it."""

    def prepare() -> tuple[WebhookRequest, str]:
        wanted = checked(WebhookRequest, body.mapping())
        return wanted, services.outward.check(wanted.url, "url")

    def store(session: Session, prepared: tuple[WebhookRequest, str]) -> Created:
        wanted, url = prepared
        quotas.hold(session, caller.project_id)
        if (there := session.scalar(select(func.count()).where(Webhook.project_id == caller.project_id)) or 0) >= MOST:
            raise QuotaExceeded(
                f"A project may have {MOST} webhooks, and this one has {there}.", hint="Delete one that nobody listens to any more."
            )
        webhook = Webhook(
            id=new_id("whk"),
            project_id=caller.project_id,
            url=url,
            events=wanted.events,
            enabled=wanted.enabled,
            secret=new_secret(),
            meta=dict(wanted.metadata),
        )
        session.add(webhook)
        session.flush()
        return Created(201, webhook.view(webhook.secret), f"/v1/webhooks/{webhook.id}", kept=webhook.view())

    return services.idempotency.once(sending, body.sha256, prepare, store)


@router.get("", responses=problems(503))
def list_webhooks(services: In, caller: By, page: Paging) -> Page[WebhookView]:
    """Webhooks, newest first."""
    with services.database.read() as session:
        return paging.page(session, Webhook, page, paging.each(Webhook.view), within=Webhook.project_id == caller.project_id)


@router.get("/{webhook_id}", responses=problems(404, 503))
def get_webhook(services: In, caller: By, webhook_id: str) -> WebhookView:
    """One webhook, without its secret."""
    with services.database.read() as session:
        return lookup.webhook(session, caller.project_id, webhook_id).view()


@router.patch("/{webhook_id}", openapi_extra=document(WebhookChanges), responses=problems(400, 404, 413, 415, 503))
def update_webhook(services: In, caller: By, webhook_id: str, body: Document) -> WebhookView:
    """Change where it goes, what it is told of, whether at all, or metadata; what is not named stays."""
    wanted = changes.parse(WebhookChanges, body.mapping())
    url = services.outward.check(wanted.url, "url") if wanted.url is not None else None
    with services.database.write() as session:
        webhook = lookup.webhook(session, caller.project_id, webhook_id, lock="change")
        webhook.url = url or webhook.url
        webhook.events = list(wanted.events or webhook.events)
        if wanted.enabled is not None:
            webhook.enabled, webhook.disabled_reason = wanted.enabled, None
        if wanted.metadata is not None:
            webhook.meta = dict(wanted.metadata)
        return webhook.view()


@router.delete("/{webhook_id}", status_code=204, response_model=None, responses=problems(404, 503))
def delete_webhook(services: In, caller: By, webhook_id: str) -> Response:
    """Delete a webhook with its messages; those that wait are not sent."""
    with services.database.write() as session:
        session.delete(lookup.webhook(session, caller.project_id, webhook_id, lock="change"))
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate", responses=problems(404, 503))
def rotate_webhook(services: In, caller: By, webhook_id: str) -> WebhookView:
    """Make a new secret, which is in this answer and nowhere else. For a day messages are signed with the old one as well."""
    with services.database.write() as session:
        webhook = lookup.webhook(session, caller.project_id, webhook_id, lock="change")
        webhook.old_secret, webhook.old_secret_until = webhook.secret, now(OLD_SECRET_SECONDS)
        webhook.secret = new_secret()
        return webhook.view(webhook.secret)


@router.post("/{webhook_id}/test", status_code=202, response_model=DeliveryView, responses=problems(404, 409, 503))
def test_webhook(services: In, caller: By, sending: Sent, webhook_id: str) -> Response:
    """Send a `ping` within a second or so; the webhook's deliveries tell what came of it."""

    def store(session: Session, _: None) -> Created:
        webhook = lookup.webhook(session, caller.project_id, webhook_id, lock="keep")
        if not webhook.enabled:
            raise Conflict(f"{webhook.id} is disabled and is sent nothing.", param="enabled", hint="Enable it first.")
        return Created(202, outbox.ping(session, webhook).view())

    return services.idempotency.once(sending, "", lambda: None, store)


@router.get("/{webhook_id}/deliveries", responses=problems(404, 503))
def list_deliveries(services: In, caller: By, webhook_id: str, page: Paging) -> Page[DeliveryView]:
    """What the webhook was told in the last thirty days, newest first: each message with its tries, and when the next one is."""
    with services.database.read() as session:
        webhook = lookup.webhook(session, caller.project_id, webhook_id)
        return paging.page(session, Message, page, paging.each(Message.view), within=Message.webhook_id == webhook.id)
