"""The outbox: a message is written in the transaction of what it tells of, so that neither is ever without the other; then it is
taken, sent, and what came of it noted. A sender that dies between sending and noting leaves a message that is taken again: each
arrives at least once, always under the same id.
"""

import json
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, inspect, select
from sqlalchemy.orm import Session

from contract.webhooks import EVENTS, PING
from contract.wire import rfc3339
from models.base import now
from models.ids import new_id
from models.job import Job
from models.sweep import Sweep
from models.webhook import Message, Webhook

TRIES = 11  # over about two days: 5 s, 20 s, 80 s, … up to 12 h between them
FIRST_SECONDS, FACTOR, LONGEST_SECONDS = 5.0, 4.0, 12 * 3600.0
LEASE_SECONDS = 60.0  # much longer than a try may take; of a sender that died the message is due again then
GONE = 410  # the receiver wants no more of it
# Kept until the commit: were one deleted meanwhile, its message would have nobody, and what it tells of could not be committed.
LISTENING = (
    select(Webhook.id, Webhook.events)
    .where(Webhook.project_id == bindparam("project"), Webhook.enabled)
    .with_for_update(read=True, key_share=True)
)


def of_job(session: Session, job: Job) -> None:
    """Tells how a job stands now. Neither of runs nor of trials, of which there may be hundreds: their parent and sweep are told of."""
    if job.parent_id is None and job.sweep_id is None:
        _tell(session, job.project_id, f"job.{job.status}", job.id, lambda: _job(session, job))


def of_sweep(session: Session, sweep: Sweep) -> None:
    _tell(session, sweep.project_id, f"sweep.{sweep.status}", sweep.id, lambda: _sweep(sweep))


def ping(session: Session, webhook: Webhook) -> Message:
    return _add(session, webhook.id, PING, None, _body(session, PING, {"webhook": webhook.id}))


def _tell(session: Session, project_id: str, type_: str, subject: str, data: Callable[[], dict[str, Any]]) -> None:
    if type_ not in EVENTS:
        return
    wanting = [id_ for id_, types in session.connection().execute(LISTENING, {"project": project_id}) if type_ in types]
    if not wanting:
        return
    body = _body(session, type_, data())
    for id_ in wanting:
        _add(session, id_, type_, subject, body)


def _body(session: Session, type_: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": type_, "timestamp": rfc3339(session.scalars(select(now())).one()), "data": data})


def _add(session: Session, webhook_id: str, type_: str, subject: str | None, body: str) -> Message:
    message = Message(id=new_id("msg"), webhook_id=webhook_id, type=type_, subject=subject, body=body)
    session.add(message)
    session.flush()
    return message


def _job(session: Session, job: Job) -> dict[str, Any]:
    """What a receiver needs to decide; the whole is a GET away and may be large."""
    if unread := inspect(job).unloaded:  # by a claim, which reads little of it: the rest at once
        session.refresh(job, unread)
    shown = {
        "id", "object", "kind", "name", "status", "status_reason", "retry_of", "attempt", "created_at", "started_at", "finished_at",
        "model", "error", "metadata",
    }  # fmt: skip
    return job.view().model_dump(mode="json", include=shown) | {"verdict": (job.report or {}).get("verdict")}


def _sweep(sweep: Sweep) -> dict[str, Any]:
    shown = {"id", "object", "name", "status", "planned", "counts", "best", "verdict", "created_at", "finished_at", "metadata"}
    return sweep.view(whole=False).model_dump(mode="json", include=shown)


# ---- sending


@dataclass(frozen=True)
class Parcel:
    """A message on its way: the `number`th try."""

    id: str
    webhook_id: str
    url: str
    secrets: list[str]
    body: str
    number: int


def _due(busy: Collection[str]) -> ColumnElement[bool]:
    return and_(Message.status == "pending", Message.due_at <= now(), Webhook.enabled, Message.webhook_id.not_in(busy))


def is_due(session: Session, busy: Collection[str]) -> bool:
    """Whether `take` would find something: asked first, because on SQLite taking keeps all others from writing."""
    query = select(Message.id).join(Webhook, Webhook.id == Message.webhook_id).where(_due(busy)).limit(1)
    return session.scalar(query) is not None


def take(session: Session, busy: Collection[str]) -> Parcel | None:
    """The message that has been due for longest, the caller's for LEASE_SECONDS. busy: webhooks to leave alone for now."""
    query = select(Message, Webhook, now()).join(Webhook, Webhook.id == Message.webhook_id).where(_due(busy))
    query = query.order_by(Message.due_at).limit(1).with_for_update(skip_locked=True, of=Message)
    found = session.execute(query.execution_options(populate_existing=True)).first()
    if found is None:
        return None
    message, webhook, moment = found
    message.tries = [*message.tries, {"at": rfc3339(moment)}]
    message.due_at = now(LEASE_SECONDS)
    return Parcel(message.id, webhook.id, webhook.url, webhook.secrets(moment), message.body, len(message.tries))


def note(session: Session, parcel: Parcel, seconds: float, status_code: int | None, error: str | None) -> Message | None:
    """What came of a try; the message as it stands now, None where it was deleted. Without an error it is delivered; otherwise it is
    due again, or given up after its last try. A later try that has begun meanwhile decides for itself."""
    webhook = session.get(Webhook, parcel.webhook_id, with_for_update={"key_share": True})  # before its message, as whoever deletes it
    message = session.get(Message, parcel.id, with_for_update=True)
    if webhook is None or message is None:
        return None
    came = {"duration_seconds": round(seconds, 3), "status_code": status_code, "error": error}
    message.tries = [one | came if number == parcel.number else one for number, one in enumerate(message.tries, start=1)]
    if error is None:
        message.status, message.due_at = "delivered", None
    elif status_code == GONE or parcel.number >= TRIES:
        message.status, message.due_at = "failed", None
    elif parcel.number == len(message.tries) and message.status == "pending":
        message.due_at = now(wait(parcel.number))
    if status_code == GONE:
        webhook.enabled, webhook.disabled_reason = False, f"the receiver answered {GONE} Gone"
    session.flush()
    return message


def wait(tries: int) -> float:
    """Seconds after so many tries in vain."""
    return min(FIRST_SECONDS * FACTOR ** (tries - 1), LONGEST_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
