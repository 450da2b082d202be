"""One job's life, asked everything in any order, against a model of a few lines.

The model knows nothing of SQL: it says what the protocol's page says. Whatever order Hypothesis finds, store and model agree
on status, attempt, crashes and history, a lost claim writes nothing, and at most one completion is accepted.
"""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_explorer import UNHURRIED, explore
from store_world import S, World, file

from contract.errors import Conflict
from contract.status import TRANSITIONS
from models import claims
from models.base import now
from models.claims import Claim, LeaseLostError

# One draw for each step, weighted by hand: left to chance, half of the steps ask of an ended job what it refuses.
ACTIONS = ["claim"] * 5 + ["crash"] * 4 + ["checkpoint", "give_back", "pause", "resume", "back_off_passes", "reap"] * 2
ACTIONS += ["renew", "finish", "fail", "cancel", "retry", "retry_fresh", "lease_runs_out", "reap_the_dead"]
ACTIONS += ["decline", "suspend", "strays", "known", "forgive"]
STARTS = [
    "",
    "claim",
    "claim crash claim",
    "claim crash claim crash",
    "claim crash claim crash back_off_passes claim",
    "claim checkpoint pause",
    "claim cancel",
    "claim lease_runs_out",
    "claim fail retry",
    "claim lease_runs_out reap claim",
    "claim crash claim checkpoint crash",
    "claim suspend resume",
    "claim strays " * 3,
    "claim lease_runs_out forgive reap",
    "claim reap_the_dead " * 9,
    "claim reap_the_dead " * 9 + "claim checkpoint reap_the_dead",
]
AGES = 3600.0
WHICH = [0, 0, 0, 0, 1, 2, 5]  # how many claims back: mostly the newest, which may be lost as well
WRITES = {"renew", "checkpoint", "finish", "fail", "crash", "give_back", "decline", "suspend"}
RELEASED = {S.RUNNING: S.QUEUED, S.PAUSING: S.PAUSED, S.CANCELLING: S.CANCELLED}


class Life:
    """What one job's row should be."""

    def __init__(self) -> None:
        self.path = [S.QUEUED, S.QUEUED]
        self.attempt = self.crashes = self.losses = 0
        self.delayed = self.expired = False
        self.steps: set[int] = set()

    @property
    def status(self) -> S:
        return self.path[-1]

    def go(self, to: S) -> None:
        assert to in TRANSITIONS[self.status]
        self.path.append(to)
        self.delayed = False

    def release(self) -> None:
        self.go(RELEASED[self.status])

    def crash(self) -> None:
        self.crashes += 1
        if self.status is S.RUNNING and self.crashes >= 3:
            self.go(S.FAILED)
            return
        self.release()
        self.delayed = self.status is S.QUEUED and self.crashes > 1

    def lose(self) -> None:
        self.losses += 1
        if self.status is S.RUNNING and self.losses >= 10:
            self.go(S.FAILED)
        else:
            self.release()


class Machine(RuleBasedStateMachine):
    """Each rule is done to the store and to the model; `world` is set by the test."""

    world: World

    @initialize(start=st.sampled_from(STARTS))
    def submit(self, start: str) -> None:
        self.world.begin()
        self.life = Life()
        self.job_id = self.world.submit()
        self.ended: list[tuple[str, Life]] = []
        self.claims: list[Claim] = []
        for action in start.split():
            self.do(action, 0)

    def teardown(self) -> None:
        self.world.clear()

    @rule(action=st.sampled_from(ACTIONS), back=st.sampled_from(WHICH))
    def do(self, action: str, back: int) -> None:
        method = getattr(self, action)
        if action not in WRITES:
            method()
        elif self.claims:
            method(self.claims[max(0, len(self.claims) - 1 - back)])

    # ---- workers

    def claim(self) -> None:
        claim = self.world.claim(lease=AGES)
        if self.life.status is not S.QUEUED or self.life.delayed:
            assert claim is None
            return
        assert claim is not None
        self.life.go(S.RUNNING)
        self.life.attempt += 1
        self.life.expired = False
        assert (claim.job_id, claim.attempt) == (self.job_id, self.life.attempt)
        self.claims.append(claim)

    def holds(self, claim: Claim) -> bool:
        return claim.job_id == self.job_id and claim.attempt == self.life.attempt and self.life.status.active

    def write(self, claim: Claim, call: Callable[..., object], *arguments: object) -> bool:
        """Does a fenced write; whether it was accepted, which is whether the claim holds."""
        if self.holds(claim):
            call(claim, *arguments)
            return True
        before = self.world.rows()
        with pytest.raises(LeaseLostError):
            call(claim, *arguments)
        assert self.world.rows() == before
        return False

    def renew(self, claim: Claim) -> None:
        holds = self.holds(claim)
        assert self.world.renew(claim, lease=AGES) == [self.life.status if holds else None]
        if holds:
            self.life.expired = False

    def checkpoint(self, claim: Claim) -> None:
        step = len(self.life.steps) + 1
        if self.write(claim, self.world.checkpoint, step, [file(f"checkpoints/{step}/model")]):
            self.life.crashes = self.life.losses = 0
            self.life.steps.add(step)

    def finish(self, claim: Claim) -> None:
        if self.write(claim, self.world.finish):
            self.life.go(S.SUCCEEDED)

    def fail(self, claim: Claim) -> None:
        if self.write(claim, self.world.fail):
            self.life.go(S.FAILED)

    def crash(self, claim: Claim) -> None:
        if self.write(claim, self.world.crash):
            self.life.crash()
            if self.life.delayed:
                assert self.world.job(self.job_id).due_at is not None
                self.world.set(self.job_id, due_at=now(AGES))  # no slow disk is to decide what happens next

    def give_back(self, claim: Claim) -> None:
        if self.write(claim, lambda claim: self.world.by(claims.give_back, claim, "asked to stop")):
            self.life.release()

    def decline(self, claim: Claim) -> None:
        if self.write(claim, lambda claim: self.world.by(claims.decline, claim, "too new for me")):
            self.life.release()
            self.life.delayed = self.life.status is S.QUEUED
            if self.life.delayed:
                self.world.set(self.job_id, due_at=now(AGES))

    def suspend(self, claim: Claim) -> None:
        if self.write(claim, lambda claim: self.world.by(claims.suspend, claim, "the disk is full")):
            self.life.go(S.PAUSED if self.life.status is S.RUNNING else RELEASED[self.life.status])

    # ---- time

    def back_off_passes(self) -> None:
        if self.life.delayed:
            self.world.set(self.job_id, due_at=now(-1))
            self.life.delayed = False

    def lease_runs_out(self) -> None:
        if self.life.status.active:
            self.world.set(self.job_id, lease_until=now(-1))
            self.life.expired = True

    def forgive(self) -> None:
        self.world.by(claims.forgive, 60.0, AGES)
        self.life.expired = False

    def strays(self) -> None:
        taken = self.world.by(claims.strays, "wrk_1", [])
        if self.life.status.active:
            self.life.release()
            assert taken == ([self.job_id] if self.life.status is S.QUEUED else [])
        else:
            assert taken == []

    def known(self) -> None:
        assert self.world.by(claims.strays, "wrk_1", [self.job_id]) == []

    def reap_the_dead(self) -> None:
        self.reap(dead=True)

    def reap(self, dead: bool = False) -> None:
        taken = self.world.reap(*(["wrk_1"] if dead else []))
        if self.life.status.active and (dead or self.life.expired):
            self.life.lose()
            assert taken == ([self.job_id] if self.life.status is S.QUEUED else [])
        else:
            assert taken == []

    # ---- people

    def ask(self, call: Callable[[str], None], outcomes: dict[S, S], same: set[S]) -> None:
        if self.life.status in outcomes:
            call(self.job_id)
            self.life.go(outcomes[self.life.status])
        elif self.life.status in same:
            call(self.job_id)
        else:
            with pytest.raises(Conflict, match=f"is {self.life.status} and cannot"):
                call(self.job_id)

    def cancel(self) -> None:
        there = {S.QUEUED: S.CANCELLED, S.PAUSED: S.CANCELLED, S.RUNNING: S.CANCELLING, S.PAUSING: S.CANCELLING}
        self.ask(self.world.cancel, there, {S.CANCELLING, S.CANCELLED})

    def pause(self) -> None:
        self.ask(self.world.pause, {S.QUEUED: S.PAUSED, S.RUNNING: S.PAUSING}, {S.PAUSING, S.PAUSED})

    def resume(self) -> None:
        self.ask(self.world.resume, {S.PAUSED: S.QUEUED}, {S.QUEUED, S.RUNNING})

    def retry_fresh(self) -> None:
        self.retry(fresh=True)

    def retry(self, fresh: bool = False) -> None:
        if self.life.status not in (S.FAILED, S.CANCELLED):
            with pytest.raises(Conflict, match="cannot be retried"):
                self.world.retry(self.job_id, fresh)
            return
        again = self.world.retry(self.job_id, fresh)
        job = self.world.job(again)
        assert (job.retry_of, job.retry_fresh) == (self.job_id, fresh)
        self.ended.append((self.job_id, self.life))
        self.job_id, self.life = again, Life()

    # ---- always

    @invariant()
    def the_row_is_what_the_model_says(self) -> None:
        for job_id, life in [*self.ended, (self.job_id, self.life)]:
            job = self.world.job(job_id)
            assert (job.status, job.attempt) == (life.status, life.attempt)
            assert (job.crashes, job.losses) == (life.crashes, life.losses)
            assert (job.worker_id == "wrk_1") == (job.lease_until is not None) == life.status.active
            assert (job.finished_at is not None) == life.status.final
            assert job.due_at is not None or not life.delayed
            assert (job.report is not None) == (life.status is S.SUCCEEDED)
            assert (job.error is not None) == (life.status is S.FAILED)

    @invariant()
    def the_history_tells_it_without_a_gap(self) -> None:
        events = self.world.events(self.job_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.data["to"] for event in events if event.type == "status"] == self.life.path
        assert {event.data["step"] for event in events if event.type == "checkpoint"} == self.life.steps
        assert self.life.path.count(S.SUCCEEDED) <= 1


@pytest.mark.timeout(UNHURRIED)
def test_no_order_of_requests_and_failures_confuses_the_store(store):
    explore(Machine, store)
