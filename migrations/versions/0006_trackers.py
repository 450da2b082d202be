"""what workers can mirror runs to"""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("trackers", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "trackers")
