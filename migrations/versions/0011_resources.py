"""what a job asks of its worker, and what a worker has; the jobs of each project in their turn"""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("want_kind", sa.String(length=3), nullable=True))
    op.add_column("jobs", sa.Column("want_memory", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("want_labels", sa.String(length=300), nullable=True))
    op.create_index("ix_jobs_turn", "jobs", ["project_id", "status", "priority", "id"])
    op.add_column("workers", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.add_column("workers", sa.Column("labels", Json, nullable=True))
    op.add_column("workers", sa.Column("preempts", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_index("ix_jobs_turn", "jobs")
    for table, column in (
        ("workers", "preempts"),
        ("workers", "labels"),
        ("workers", "memory_bytes"),
        ("jobs", "want_labels"),
        ("jobs", "want_memory"),
        ("jobs", "want_kind"),
    ):
        op.drop_column(table, column)
