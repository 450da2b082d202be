"""What the protocol's page says of jobs that wait for each other, in plain Python: no locks, no SQL, no transactions."""

from dataclasses import dataclass, field

from store_world import S

from contract.status import TRANSITIONS

GONE = "deleted"
RELEASED = {S.RUNNING: S.QUEUED, S.PAUSING: S.PAUSED, S.CANCELLING: S.CANCELLED}
Ends = dict[str, str | None]  # job → how it ended, None while it has not


class Refused(Exception):
    """The request is one that must be answered with a conflict."""


@dataclass
class Member:
    id: str
    needs: Ends
    runs: Ends = field(default_factory=dict)
    parent: str | None = None
    retry_of: str | None = None
    status: S = S.WAITING
    attempt: int = 0
    crashes: int = 0
    losses: int = 0
    held: bool = False  # by a worker
    expired: bool = False
    delayed: bool = False

    @property
    def ready(self) -> bool:
        return self.runs_ended and all(end == S.SUCCEEDED for end in self.needs.values())

    @property
    def runs_ended(self) -> bool:
        return None not in self.runs.values()

    @property
    def claimable(self) -> bool:
        if self.status is S.QUEUED:
            return not self.delayed
        return self.status is S.CANCELLING and not self.held and self.runs_ended  # somebody has to put together what there is


class Family:
    """All jobs there are. Methods do what a request or a worker does and what follows from it."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    def __getitem__(self, job_id: str) -> Member:
        return self.members[job_id]

    def ending(self, job_id: str) -> str | None:
        member = self.members.get(job_id)
        if member is None:
            return GONE
        return member.status if member.status.final else None

    def open_runs(self, job: Member) -> list[Member]:
        return [self.members[run] for run, end in job.runs.items() if end is None]

    # ---- requests

    def submit(self, job_id: str, needs: list[str], runs: list[str] = (), *, shared: list[str] = (), retry_of: str | None = None) -> None:  # type: ignore[assignment]
        """`runs` are new ones, known already; `shared` have succeeded for another parent."""
        job = Member(job_id, {need: self.ending(need) for need in needs}, retry_of=retry_of)
        self.members[job_id] = job
        for run in runs:
            self.members[run].parent = job_id
        job.runs = {run: self.ending(run) for run in [*runs, *shared]}
        self._start(job)

    def cancel(self, job: Member) -> None:
        if job.status in (S.CANCELLED, S.CANCELLING):
            return
        if job.status.final:
            raise Refused
        runs = self.open_runs(job)
        self._go(job, S.CANCELLING if runs or job.status.active else S.CANCELLED)
        for run in runs:
            self.cancel(run)

    def pause(self, job: Member) -> None:
        if job.status in (S.PAUSED, S.PAUSING):
            return
        if job.status not in (S.WAITING, S.QUEUED, S.RUNNING):
            raise Refused
        self._go(job, S.PAUSING if job.status is S.RUNNING else S.PAUSED)
        for run in self.open_runs(job):
            if run.status is not S.CANCELLING:  # on its way out already
                self.pause(run)

    def resume(self, job: Member) -> None:
        paused = [run for run in self.open_runs(job) if run.status in (S.PAUSED, S.PAUSING)]
        if job.status not in (S.WAITING, S.QUEUED, S.RUNNING, S.PAUSED) or any(run.status is S.PAUSING for run in paused):
            raise Refused  # "wait until it is paused"
        for run in paused:
            self.resume(run)
        if job.status is S.PAUSED:
            self._go(job, S.QUEUED if job.ready else S.WAITING)
            self._start(job)

    def family(self, job: Member) -> list[Member]:
        return [job, *(member for member in self.members.values() if member.parent == job.id)]

    def delete(self, job: Member) -> None:
        going = self.family(job)
        for member in going:
            waited_for = any(member.id in {**other.needs, **other.runs} and not other.status.final for other in self.members.values())
            continued = any(other.retry_of == member.id and not other.status.final for other in self.members.values())
            if not member.status.final or waited_for or continued:
                raise Refused
        for member in going:
            del self.members[member.id]

    # ---- workers

    def claim(self, job: Member) -> None:
        job.attempt += 1
        job.held, job.expired = True, False
        if job.status is S.QUEUED:
            self._go(job, S.RUNNING)

    def end(self, job: Member, how: S) -> None:
        self._go(job, how)

    def release(self, job: Member) -> None:
        self._go(job, RELEASED[job.status])

    def crash(self, job: Member, budget: int) -> None:
        job.crashes += 1
        self._spend(job, job.crashes >= budget)
        job.delayed = job.status is S.QUEUED and job.crashes > 1

    def lose(self, job: Member, budget: int) -> None:
        job.losses += 1
        self._spend(job, job.losses >= budget)

    def _spend(self, job: Member, spent: bool) -> None:
        if job.status is S.RUNNING and spent:
            self._go(job, S.FAILED)
        else:
            self.release(job)

    # ---- what follows

    def _go(self, job: Member, to: S) -> None:
        assert to in TRANSITIONS[job.status], f"{job.status} → {to}"
        job.status, job.delayed = to, False
        job.held = job.held and to.active
        job.expired = job.expired and to.active
        if to.final:
            for other in list(self.members.values()):
                for ends in (other.needs, other.runs):
                    if job.id in ends:
                        ends[job.id] = to
                self._start(other)

    def _start(self, job: Member) -> None:
        if job.status is not S.WAITING:
            return
        if any(end not in (None, S.SUCCEEDED) for end in job.needs.values()):
            self._go(job, S.FAILED)
        elif job.ready:
            self._go(job, S.QUEUED)
