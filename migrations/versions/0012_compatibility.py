"""the oldest code that works with the tables"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
breaks = "Code from before does not look for this: it wants its own tables and no others."


def upgrade() -> None:
    op.create_table(
        "compatibility",
        sa.Column("oldest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name=op.f("pk_compatibility")),
    )


def downgrade() -> None:
    op.drop_table("compatibility")
