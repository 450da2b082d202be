"""what each project has running, without reading the jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
breaks = None


def upgrade() -> None:
    held = sa.text("worker_id IS NOT NULL")
    op.create_index("ix_jobs_held", "jobs", ["project_id", "status", "want_devices"], postgresql_where=held, sqlite_where=held)


def downgrade() -> None:
    op.drop_index("ix_jobs_held", "jobs")
