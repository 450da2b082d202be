"""Jobs that wait for each other, asked everything in any order, against a model: `family_model`.

Chains by `needs`, parents of several runs, and both mixed. Whatever order Hypothesis finds, every member stands as the model
says, what has ended never changes again, and nobody waits for something that cannot come.
"""

from collections.abc import Callable, Sequence

import pytest
import sqlalchemy as sa
from family_model import Family, Member, Refused
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_explorer import UNHURRIED, explore
from store_world import S, World

from api import deletion
from contract.errors import Conflict
from models import claims, lifecycle
from models.audit import Actor
from models.base import now
from models.claims import Claim, LeaseLostError
from models.job import Job, JobDependency

ACTIONS = ["claim"] * 6 + ["finish"] * 3 + ["pause", "resume"] * 3 + ["cancel", "crash", "reap", "back_off_passes"] * 2
ACTIONS += ["submit", "submit", "fail", "give_back", "retry", "retry_fresh", "delete", "lease_runs_out"]
AGES = 3600.0
NEEDS = st.lists(st.integers(0, 8), max_size=2)
MEMBERS = 8  # no more are submitted; an example that grows without end finds nothing new
STARTS = ["job", "chain", "parent", "teacher and parent", "parent and student", "parent that loses a run"]


class Machine(RuleBasedStateMachine):
    """Each rule is done to the store and to the model; `world` is set by the test."""

    world: World

    @initialize(start=st.sampled_from(STARTS), claims=st.integers(0, 2))
    def begin(self, start: str, claims: int) -> None:
        self.world.begin()
        self.family = Family()
        self.claims: list[Claim] = []
        for kind in start.split(" and "):
            self.new(2 if kind.startswith("parent") else 0, [0] if self.family.members else [])
        if start == "chain":
            self.new(0, [0])
            self.new(0, [1])
        for _ in range(claims):
            self.do("claim", 0)
        if start == "parent that loses a run":
            self.do("cancel", 0)

    def teardown(self) -> None:
        self.world.clear()

    def pick(self, index: int) -> Member | None:
        members = list(self.family.members.values())
        return members[index % len(members)] if members else None

    # ---- people

    def new(self, runs: int, needs: Sequence[int]) -> None:
        wanted = sorted({member.id for index in needs if (member := self.pick(index)) is not None})
        with self.world.database.write() as session:
            made = [self.world.new(arm="student", seed=seed) for seed in range(runs)]
            job = lifecycle.create(session, self.world.new(), wanted, made)
        for run in made:
            self.family.submit(run.id, wanted)
        self.family.submit(job.id, wanted, [run.id for run in made])

    # One draw for each step, weighted by hand; left to chance, half of the steps submit.
    @rule(action=st.sampled_from(ACTIONS), index=st.integers(0, MEMBERS), runs=st.sampled_from([0, 0, 2, 3]), needs=NEEDS)
    def do(self, action: str, index: int, runs: int = 0, needs: Sequence[int] = ()) -> None:
        member = self.pick(index)
        if action == "submit":
            if len(self.family.members) + runs < MEMBERS:
                self.new(runs, needs)
        elif member is not None:
            getattr(self, action)(member)

    def ask(self, member: Member, model: Callable[[Member], None], store: Callable[[str], object]) -> bool:
        """Both do it or both refuse it; a refusal leaves nothing behind, which the invariants see."""
        try:
            model(member)
        except Refused:
            with pytest.raises(Conflict):
                store(member.id)
            return False
        store(member.id)
        return True

    def cancel(self, member: Member) -> None:
        self.ask(member, self.family.cancel, self.world.cancel)

    def pause(self, member: Member) -> None:
        self.ask(member, self.family.pause, self.world.pause)

    def resume(self, member: Member) -> None:
        self.ask(member, self.family.resume, self.world.resume)

    def delete(self, member: Member) -> None:
        def store(job_id: str) -> None:
            with self.world.database.write() as session:
                deletion.delete(session, Actor(self.world.project_id), deletion.family(session, lifecycle.locked(session, job_id)))

        self.ask(member, self.family.delete, store)

    def retry_fresh(self, member: Member) -> None:
        self.retry(member, fresh=True)

    def retry(self, member: Member, fresh: bool = False) -> None:
        if member.status not in (S.FAILED, S.CANCELLED):
            with pytest.raises(Conflict, match="cannot be retried"):
                self.world.retry(member.id, fresh)
            return
        if len(self.family.members) + len(member.runs) >= MEMBERS:
            return
        there = [run for run in member.runs if run in self.family.members]
        if len(there) < len(member.runs):
            with pytest.raises(Conflict, match="were deleted: it cannot be retried"):
                self.world.retry(member.id, fresh)
            return
        again = self.world.job(self.world.retry(member.id, fresh))
        shared = [run for run in there if self.family[run].status is S.SUCCEEDED]
        made = [run for run in again.runs if run not in shared]
        assert len(again.runs) == len(member.runs)
        assert {self.world.job(run).retry_of for run in made} == set(there) - set(shared)
        for run in made:
            of = self.world.job(run).retry_of
            self.family.submit(run, list(member.needs), retry_of=None if fresh else of)
        self.family.submit(again.id, list(member.needs), made, shared=shared, retry_of=None if fresh else member.id)

    # ---- workers

    def claim(self, _: Member) -> None:
        claim = self.world.claim(lease=AGES)
        claimable = [member for member in self.family.members.values() if member.claimable]
        claimable.sort(key=lambda member: (member.status is not S.CANCELLING, member.id))  # what only ends goes before what begins
        assert (claim.job_id if claim else None) == (claimable[0].id if claimable else None)
        if claim is not None:
            self.family.claim(self.family[claim.job_id])
            assert claim.runs == sorted(self.family[claim.job_id].runs)
            self.claims.append(claim)

    def write(self, member: Member, call: Callable[[Claim], object]) -> bool:
        """Does a fenced write by the last claim of the member; whether it was accepted, which is whether the claim holds."""
        claim = next((claim for claim in reversed(self.claims) if claim.job_id == member.id), None)
        if claim is None:
            return False
        if member.held:
            call(claim)
            return True
        with pytest.raises(LeaseLostError):
            call(claim)
        return False

    def finish(self, member: Member) -> None:
        if self.write(member, self.world.finish):
            self.family.end(member, S.SUCCEEDED)

    def fail(self, member: Member) -> None:
        if self.write(member, self.world.fail):
            self.family.end(member, S.FAILED)

    def crash(self, member: Member) -> None:
        if self.write(member, self.world.crash):
            self.family.crash(member, claims.CRASH_BUDGET)
            if member.delayed:
                self.world.set(member.id, due_at=now(AGES))  # no slow disk is to decide what happens next

    def give_back(self, member: Member) -> None:
        if self.write(member, lambda claim: self.world.by(claims.give_back, claim, "asked to stop")):
            self.family.release(member)

    # ---- time

    def back_off_passes(self, member: Member) -> None:
        if member.delayed:
            self.world.set(member.id, due_at=now(-1))
            member.delayed = False

    def lease_runs_out(self, member: Member) -> None:
        if member.held:
            self.world.set(member.id, lease_until=now(-1))
            member.expired = True

    def reap(self, _: Member) -> None:
        expired = [member for member in self.family.members.values() if member.expired]
        for member in expired:
            self.family.lose(member, claims.LOSS_BUDGET)
        assert self.world.reap() == sorted(member.id for member in expired if member.status is S.QUEUED)

    # ---- always

    @invariant()
    def every_member_stands_as_the_model_says(self) -> None:
        with self.world.database.read() as session:
            rows = {job.id: job for job in session.scalars(sa.select(Job))}
        stands = {id_: (S(job.status), job.attempt, job.crashes, job.worker_id is not None) for id_, job in rows.items()}
        assert stands == {id_: (m.status, m.attempt, m.crashes, m.held) for id_, m in self.family.members.items()}
        for id_, job in rows.items():
            assert (job.error or {}).get("code") in ((None,) if job.status != S.FAILED else ("diverged", "crash_loop", "dependency_failed"))
            assert (job.parent_id in rows) == (self.family[id_].parent is not None)

    @invariant()
    def nobody_waits_for_what_cannot_come(self) -> None:
        """Read from the rows alone: who waits, waits for a job that has not ended."""
        with self.world.database.read() as session:
            rows = {job.id: job for job in session.scalars(sa.select(Job))}
            needed = session.execute(sa.select(JobDependency.job_id, JobDependency.needs_id)).all()
        for job in rows.values():
            open_ones = [rows[need] for id_, need in needed if id_ == job.id and need in rows and not S(rows[need].status).final]
            if job.status == S.WAITING:
                assert open_ones
            if job.status == S.CANCELLING and job.worker_id is None and job.due_at is None:
                assert [other for other in open_ones if other.parent_id == job.id]


@pytest.mark.timeout(UNHURRIED)
def test_no_order_of_requests_and_failures_confuses_a_family(store):
    explore(Machine, store)
