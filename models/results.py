"""What runs leave behind: metric points, checkpoints, artifacts, models."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from contract.wire import ArtifactView, ModelView
from models.base import Base, Json, now


class MetricPoint(Base):
    """One value of one metric; a step repeated after a resume replaces its point."""

    __tablename__ = "metric_points"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(32), primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float] = mapped_column(Float(53))
    time: Mapped[datetime] = mapped_column(default=now())


class MetricSpan(Base):
    """A stretch of a metric's steps, from `start` on: how many points it has, and the lowest and the highest (see models/points.py)."""

    __tablename__ = "metric_spans"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(32), primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    width: Mapped[int] = mapped_column(primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    points: Mapped[int] = mapped_column(BigInteger)
    first_step: Mapped[int] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)
    low_step: Mapped[int] = mapped_column(BigInteger)
    low: Mapped[float] = mapped_column(Float(53))
    low_time: Mapped[datetime]
    high_step: Mapped[int] = mapped_column(BigInteger)
    high: Mapped[float] = mapped_column(Float(53))
    high_time: Mapped[datetime]


class Artifact(Base):
    """One file of a job. The bytes live in the blob store under their SHA-256."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("job_id", "path"), Index("ix_artifacts_project", "project_id", "size_bytes"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(500))
    kind: Mapped[str] = mapped_column(String(16))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    attempt: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now())

    def view(self) -> ArtifactView:
        return ArtifactView.model_validate(self, from_attributes=True)


class Checkpoint(Base):
    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(32), primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    metrics: Mapped[dict[str, Any]] = mapped_column(Json)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now())


class Model(Base):
    """A trained network: the product of a job or an upload. `files` maps file names to blobs."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    task: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    config: Mapped[dict[str, Any]]
    files: Mapped[dict[str, Any]]  # file name → {sha256, size_bytes}
    parameters: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now())
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)

    def view(self) -> ModelView:
        return ModelView(
            id=self.id,
            name=self.name,
            task=self.task,
            job=self.job_id,
            config=self.config,
            parameters=self.parameters,
            size_bytes=self.size_bytes,
            created_at=self.created_at,
            metadata=self.meta,
        )
