"""The job row: what was asked, how it stands, who holds it. `status` is written by lifecycle.switch and nowhere else."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, select, text
from sqlalchemy.orm import Mapped, mapped_column, object_session, relationship

from contract.errors import ErrorBody
from contract.resources import Kind
from contract.status import JobStatus
from contract.wire import JobView, Progress
from models.base import Base, Json, now


class Origin(NamedTuple):
    """The request that asked for a job or sweep."""

    request_id: str | None = None
    traceparent: str | None = None


TOP_LEVEL = text("parent_id IS NULL AND sweep_id IS NULL")
HAS_WORKER = text("worker_id IS NOT NULL")


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_claim", "status", "priority", "id"),
        Index("ix_jobs_turn", "project_id", "status", "priority", "id"),
        # What each project holds, few of a million, is counted at every claim.
        Index("ix_jobs_held", "project_id", "status", "want_devices", postgresql_where=HAS_WORKER, sqlite_where=HAS_WORKER),
        Index("ix_jobs_project", "project_id", "id"),
        Index("ix_jobs_project_status", "project_id", "status", "id"),
        Index("ix_jobs_finished", "finished_at"),
        # What lists are asked for, in their order.
        Index("ix_jobs_top", "project_id", "id", postgresql_where=TOP_LEVEL, sqlite_where=TOP_LEVEL),
        Index("ix_jobs_name", "project_id", "name", "id"),
        Index("ix_jobs_kind", "project_id", "kind", "id"),
        Index("ix_jobs_metadata", "metadata", postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"}).ddl_if("postgresql"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(100))
    status: Mapped[JobStatus] = mapped_column(String(16))
    status_reason: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    spec: Mapped[dict[str, Any]]  # as sent
    resolved_spec: Mapped[dict[str, Any]]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    arm: Mapped[str | None] = mapped_column(String(32))  # of a run of the parent
    seed: Mapped[int | None] = mapped_column(BigInteger)
    retry_of: Mapped[str | None] = mapped_column(String(40))
    retry_fresh: Mapped[bool] = mapped_column(default=False)
    traceparent: Mapped[str | None] = mapped_column(String(255))
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)

    created_at: Mapped[datetime] = mapped_column(default=now())
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    # The lease. `attempt` is the fence: every write of a run carries it. Of a queued job: which worker keeps its slots free for it.
    attempt: Mapped[int] = mapped_column(default=0)
    worker_id: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None]
    due_at: Mapped[datetime | None]  # not before: back-off after crashes
    crashes: Mapped[int] = mapped_column(default=0)  # of its trainer, since the last new checkpoint
    losses: Mapped[int] = mapped_column(default=0)  # of its worker, since the last new checkpoint
    accepted: Mapped[int] = mapped_column(default=0)  # events of this attempt that are written: what is offered twice is taken once
    logged: Mapped[int] = mapped_column(default=0)  # log lines and warnings kept, of all attempts

    # What the run says of itself.
    event_seq: Mapped[int] = mapped_column(default=0)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    latest: Mapped[dict[str, Any]] = mapped_column(default=dict)
    warnings: Mapped[list[str]] = mapped_column(default=list)
    resumed_inexactly: Mapped[bool] = mapped_column(default=False)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)
    model_id: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)

    sweep_id: Mapped[str | None] = mapped_column(String(40), index=True)
    request_id: Mapped[str | None] = mapped_column(String(128))  # of its submission

    # What a worker must have to claim it: `contract.resources.Resources`. A parent, whose runs do the work, asks for nothing.
    want_kind: Mapped[Kind | None] = mapped_column(String(3))
    want_memory: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    want_labels: Mapped[str | None] = mapped_column(String(300))
    want_devices: Mapped[int | None]  # None: one

    needs: Mapped[list["JobDependency"]] = relationship(
        foreign_keys="JobDependency.job_id", lazy="selectin", order_by="JobDependency.needs_id", cascade="all, delete-orphan"
    )

    @property
    def runs(self) -> list[str]:
        """Ids of the runs this job is the parent of; empty for a job that is executed as it is."""
        return [need.needs_id for need in self.needs if need.is_run]

    def _progress(self, of_runs: Mapping[str, Any]) -> Progress:
        """A parent's progress is its runs' together; each run has as many steps as the longest known."""
        runs = self.runs
        if not runs:
            return Progress.model_validate(self.progress)
        found = [Progress.model_validate(of_runs[run]) for run in runs if run in of_runs]
        steps = [p.step for p in found if p.step is not None]
        longest = max((p.total_steps for p in found if p.total_steps is not None), default=None)
        return Progress(
            phase=next((p.phase for p in found if p.phase is not None and p.step != p.total_steps), None),
            step=sum(steps) if steps else None,
            total_steps=longest * len(runs) if longest is not None else None,
        )

    def view(self) -> JobView:
        (view,) = views([self])
        return view

    def _view(self, of_runs: Mapping[str, Any]) -> JobView:
        return JobView(
            id=self.id,
            kind=self.kind,
            name=self.name,
            status=JobStatus(self.status),
            status_reason=self.status_reason,
            priority=self.priority,
            spec=self.spec,
            resolved_spec=self.resolved_spec,
            parent=self.parent_id,
            sweep=self.sweep_id,
            retry_of=self.retry_of,
            depends_on=[need.needs_id for need in self.needs if not need.is_run],
            attempt=self.attempt,
            created_at=self.created_at,
            queued_at=self.queued_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            progress=self._progress(of_runs),
            latest=self.latest,
            report=self.report,
            model=self.model_id,
            error=ErrorBody.model_validate(self.error) if self.error else None,
            warnings=self.warnings,
            resumed_inexactly=self.resumed_inexactly,
            metadata=self.meta,
        )


def views(jobs: Sequence[Job]) -> list[JobView]:
    """All of one session, whose runs are asked for their progress at once."""
    session = object_session(jobs[0]) if jobs else None
    parents = [job.id for job in jobs if job.runs]  # a database takes so many ids, and not those of all their runs
    asked = (
        select(Job.id, Job.progress)
        .join(JobDependency, JobDependency.needs_id == Job.id)
        .where(JobDependency.job_id.in_(parents), JobDependency.is_run)
    )
    of_runs: dict[str, Any] = dict(session.execute(asked).all()) if parents and session is not None else {}
    return [job._view(of_runs) for job in jobs]


class JobDependency(Base):
    """`job_id` waits until `needs_id` has succeeded. The needed job may be deleted once this one has started."""

    __tablename__ = "job_dependencies"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    needs_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)
    needs_status: Mapped[str | None] = mapped_column(String(16))  # how it ended, once it has
    is_run: Mapped[bool] = mapped_column(default=False)  # a run of this parent: waited for however it ends


class Event(Base):
    """One line of a job's history. `seq` is drawn from the job's row in the same transaction, so readers never see a gap."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(16))
    level: Mapped[str] = mapped_column(String(8), default="info")
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    attempt: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now())

    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012 - nobody who writes one asks when

    job: Mapped[Job] = relationship(lazy="raise")  # so that a new job and what is told of it go out in one flush, the job first
