"""The outbox: a message is there exactly when what it tells of is, is sent by one at a time, again until taken or given up."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from store_world import S, World, at_once
from test_store_sweeps import begin

from contract.webhooks import ENDINGS, EVENTS
from models import claims, lifecycle, outbox, sweeping
from models.base import now
from models.ids import new_id
from models.outbox import Parcel
from models.project import Project
from models.sweep import Sweep
from models.webhook import Message, Webhook, new_secret


def hook(world: World, events: list[str] | None = None, **columns: Any) -> str:
    fields = {
        "project_id": world.project_id,
        "url": "https://hooks.example.com/",
        "events": events or list(ENDINGS),
        "secret": new_secret(),
    }
    webhook = Webhook(id=new_id("whk"), **{**fields, **columns})
    with world.database.write() as session:
        session.add(webhook)
    return webhook.id


def messages(world: World, webhook_id: str | None = None) -> list[Message]:
    with world.database.read() as session:
        query = sa.select(Message).order_by(Message.id)
        return list(session.scalars(query if webhook_id is None else query.where(Message.webhook_id == webhook_id)))


def types(world: World, webhook_id: str | None = None) -> list[str]:
    return [message.type for message in messages(world, webhook_id)]


def take(world: World, *busy: str) -> Parcel | None:
    with world.database.write() as session:
        assert outbox.is_due(session, busy) or outbox.take(session, busy) is None
        return outbox.take(session, busy)


def taken(world: World) -> Parcel:
    parcel = take(world)
    assert parcel is not None
    return parcel


def note(world: World, parcel: Parcel, status: int | None = None, error: str | None = None) -> None:
    with world.database.write() as session:
        outbox.note(session, parcel, 0.25, status, error)


def pass_time(world: World, seconds: float = 0) -> None:
    """Messages become due as if so long had passed."""
    with world.database.write() as session:
        session.execute(sa.update(Message).where(Message.due_at.is_not(None)).values(due_at=now(-seconds)))


def finished(world: World) -> str:
    claim = world.run()
    world.finish(claim)
    return claim.job_id


def test_every_ending_is_told_with_what_a_receiver_needs(world: World) -> None:
    hook(world)
    succeeded, failed = finished(world), world.in_status(S.FAILED)
    cancelled = world.in_status(S.CANCELLED)
    assert [(m.type, m.subject) for m in messages(world)] == [
        ("job.succeeded", succeeded),
        ("job.failed", failed),
        ("job.cancelled", cancelled),
    ]
    bodies = [json.loads(message.body) for message in messages(world)]
    assert [set(body) for body in bodies] == [{"type", "timestamp", "data"}] * 3
    assert bodies[0]["data"]["status"] == "succeeded" and bodies[0]["data"]["verdict"] == "It works."
    assert bodies[0]["data"]["finished_at"].endswith("Z")
    assert bodies[1]["data"]["error"]["code"] == "diverged"
    assert "spec" not in bodies[0]["data"] and "report" not in bodies[0]["data"]


def test_a_webhook_is_told_of_what_it_asked_for_and_of_nothing_else(world: World) -> None:
    all_of_it, running = hook(world, list(EVENTS)), hook(world, ["job.running"])
    disabled = hook(world, list(EVENTS), enabled=False)
    stranger = Project(id=new_id("prj"), name="another")
    with world.database.write() as session:
        session.add(stranger)
    foreign = hook(world, list(EVENTS), project_id=stranger.id)
    claim = world.run()
    world.pause(claim.job_id)
    world.finish(claim)
    assert types(world, all_of_it) == ["job.running", "job.succeeded"]
    assert types(world, running) == ["job.running"]
    assert types(world, disabled) == types(world, foreign) == []


def test_runs_and_trials_are_not_told_of_one_by_one_but_their_parent_and_sweep_are(world: World) -> None:
    hook(world, list(EVENTS))
    runs = [world.new(arm="student", seed=seed) for seed in range(2)]
    with world.database.write() as session:
        parent = lifecycle.create(session, world.new(), [], runs).id
    world.cancel(parent)
    sweep_id = begin(world)
    with world.database.write() as session:
        sweeping.cancel(session, session.get_one(Sweep, sweep_id))
    while (claim := world.claim()) is not None:  # the parent puts together what there is
        world.by(claims.give_back, claim, "its runs were cancelled")
    told = [(message.type, message.subject) for message in messages(world)]
    assert ("sweep.cancelled", sweep_id) in told
    assert {subject for _, subject in told} == {parent, sweep_id}
    data = json.loads(next(m for m in messages(world) if m.subject == sweep_id).body)["data"]
    assert data["status"] == "cancelled" and data["counts"] == {"cancelled": 6}


def test_what_is_rolled_back_was_never_told(world: World) -> None:
    hook(world, list(EVENTS))
    job_id = world.submit()
    with pytest.raises(ZeroDivisionError), world.database.write() as session:
        lifecycle.cancel(session, lifecycle.locked(session, job_id))
        assert session.scalar(sa.select(sa.func.count()).select_from(Message)) == 1
        raise ZeroDivisionError
    assert messages(world) == [] and world.status(job_id) is S.QUEUED


def test_a_webhook_that_is_deleted_at_that_moment_does_not_keep_a_job_from_ending(world: World) -> None:
    """Selecting webhooks without keeping them would make the job's commit fail on the message of one that is gone."""
    for _ in range(10):
        webhook_id, claim = hook(world), world.run()

        def delete(webhook_id: str = webhook_id) -> None:
            with world.database.write() as session:
                session.delete(session.get_one(Webhook, webhook_id, with_for_update=True))

        assert at_once(delete, lambda claim=claim: world.finish(claim)) == [None, None]
        assert world.status(claim.job_id) is S.SUCCEEDED
    assert messages(world) == []


def test_a_message_is_sent_by_one_at_a_time(world: World) -> None:
    hook(world)
    for _ in range(5):
        finished(world)
    for _ in range(2):
        found = [parcel for parcel in at_once(*[lambda: take(world)] * 10) if parcel is not None]
        assert all(isinstance(parcel, Parcel) for parcel in found)
        assert len({parcel.id for parcel in found}) == len(found)
    while take(world) is not None:
        pass
    assert [len(message.tries) for message in messages(world)] == [1] * 5


def test_a_sender_that_dies_leaves_its_message_to_others_with_the_same_id_and_body(world: World) -> None:
    hook(world)
    finished(world)
    first = taken(world)
    assert take(world) is None
    (message,) = messages(world)
    assert message.status == "pending" and message.due_at is not None
    pass_time(world)
    second = taken(world)
    assert (second.id, second.body, second.number) == (first.id, first.body, 2)
    note(world, second, 204)
    (message,) = messages(world)
    assert message.status == "delivered" and message.due_at is None
    assert message.tries[0].get("status_code") is None and message.tries[1]["status_code"] == 204
    note(world, first, 500, "answered 500")  # the first was only slow: what it says changes nothing any more
    assert messages(world)[0].status == "delivered" and messages(world)[0].due_at is None
    assert take(world) is None


def test_what_fails_is_repeated_ever_later_for_two_days_and_then_given_up(world: World) -> None:
    hook(world)
    finished(world)
    waits = []
    for number in range(1, outbox.TRIES + 1):
        parcel = taken(world)
        assert parcel.number == number
        with world.database.write() as session:
            before = session.scalars(sa.select(now())).one()
            message = outbox.note(session, parcel, 0.1, 500, "answered 500")
            assert message is not None
            session.refresh(message)
            if message.due_at is not None:
                waits.append((message.due_at - before).total_seconds())
        assert take(world) is None
        pass_time(world)
    (message,) = messages(world)
    assert message.status == "failed" and len(message.tries) == outbox.TRIES and take(world) is None
    assert 3.9 <= waits[0] <= 6.1 and 0.75 * 43_200 <= waits[-1] <= 1.25 * 43_200
    assert all(0.79 * 5 * 4**i <= wait <= 1.21 * 5 * 4**i for i, wait in enumerate(waits[:7]))
    assert 1.4 <= sum(waits) / 86_400 <= 2.2


def test_gone_disables_the_webhook_and_nothing_more_is_written_for_it(world: World) -> None:
    webhook_id = hook(world)
    finished(world), finished(world)
    note(world, taken(world), 410, "answered 410")
    with world.database.read() as session:
        webhook = session.get_one(Webhook, webhook_id)
        assert not webhook.enabled and webhook.disabled_reason == "the receiver answered 410 Gone"
    assert [message.status for message in messages(world)] == ["failed", "pending"]
    finished(world)
    assert take(world) is None and len(messages(world)) == 2


def test_a_webhook_that_has_enough_on_its_way_is_left_alone_and_others_are_not(world: World) -> None:
    busy = hook(world)
    finished(world)
    free = hook(world)
    finished(world)
    assert {parcel.webhook_id for parcel in (take(world, busy), take(world, busy)) if parcel is not None} == {free}
    assert take(world, busy, free) is None


def test_for_a_day_the_old_secret_signs_too(world: World) -> None:
    webhook_id = hook(world, old_secret="whsec_b2xk", old_secret_until=now(60))
    finished(world)
    parcel = taken(world)
    assert len(parcel.secrets) == 2 and parcel.secrets[1] == "whsec_b2xk"
    with world.database.write() as session:
        session.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(old_secret_until=now(-1)))
    pass_time(world)
    assert len(taken(world).secrets) == 1


def test_messages_go_with_their_webhook_and_what_is_under_way_ends_quietly(world: World) -> None:
    webhook_id = hook(world)
    finished(world)
    parcel = taken(world)
    with world.database.write() as session:
        session.delete(session.get_one(Webhook, webhook_id))
    assert messages(world) == []
    note(world, parcel, 204)


def test_a_claim_that_somebody_listens_for_reads_the_job_once_more(world):
    with world.database.write() as session:
        address = {"url": "https://hooks.example/x", "events": ["job.running"], "secret": "s" * 32}
        session.add(Webhook(id=new_id("whk"), project_id=world.project_id, enabled=True, **address))
    world.submit()
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_more):
        seen.append(statement)

    sa.event.listen(world.database.engine, "before_cursor_execute", note)
    try:
        world.take()
    finally:
        sa.event.remove(world.database.engine, "before_cursor_execute", note)
    assert sum("FROM jobs" in statement and statement.startswith("SELECT jobs") for statement in seen) == 2, seen
