"""what workers measured of their machines"""

import sqlalchemy as sa
from alembic import op

from models.base import Json

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("machine", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "machine")
