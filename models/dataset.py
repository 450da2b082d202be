"""Uploaded, immutable, content-addressed rows."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from contract.column import Column
from contract.wire import DatasetView, SplitView
from models.base import Base, now


class Dataset(Base):
    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("project_id", "sha256", "format"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(255))
    format: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    splits: Mapped[dict[str, Any]]  # split name → rows
    columns: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    classes: Mapped[dict[str, Any]]  # label-like column → its classes in order
    created_at: Mapped[datetime] = mapped_column(default=now())
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)

    def view(self) -> DatasetView:
        label = next((name for name in ("label", "y") if name in self.classes), None)
        return DatasetView(
            id=self.id,
            name=self.name,
            format=self.format,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            splits={name: SplitView(rows=rows) for name, rows in self.splits.items()},
            columns=[Column.model_validate(column) for column in self.columns],
            classes=self.classes[label] if label else None,
            created_at=self.created_at,
            metadata=self.meta,
        )
