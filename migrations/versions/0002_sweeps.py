"""sweeps"""

import sqlalchemy as sa
from alembic import op

from models.base import Json, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("metric", sa.String(length=16), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("result", Json, nullable=True),
        sa.Column("traceparent", sa.String(length=255), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_sweeps_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_index("ix_sweeps_project", "sweeps", ["project_id", "id"])
    op.create_index("ix_sweeps_open", "sweeps", ["finished_at", "id"])
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("rungs", Json, nullable=False),
        sa.Column("stopped", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_trials_sweep_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_trials")),
    )
    op.create_index(op.f("ix_trials_job_id"), "trials", ["job_id"])
    op.add_column("jobs", sa.Column("sweep_id", sa.String(length=40), nullable=True))
    op.create_index(op.f("ix_jobs_sweep_id"), "jobs", ["sweep_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_sweep_id"), "jobs")
    op.drop_column("jobs", "sweep_id")
    op.drop_table("trials")
    op.drop_table("sweeps")
