"""the request that submitted a job or sweep"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("jobs", "sweeps"):
        op.add_column(table, sa.Column("request_id", sa.String(length=128), nullable=True))


def downgrade() -> None:
    for table in ("jobs", "sweeps"):
        op.drop_column(table, "request_id")
