"""how many devices train a job together"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
breaks = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("want_devices", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "want_devices")
