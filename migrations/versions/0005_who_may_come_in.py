"""keys that reach so far, end, and can be rotated; the audit; what a project keeps is counted"""

import sqlalchemy as sa
from alembic import op

from models.base import UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Keys from before could do everything, and those that the version before makes meanwhile can, too.
    op.add_column("keys", sa.Column("scope", sa.String(length=8), nullable=False, server_default="admin"))
    op.add_column("keys", sa.Column("expires_at", UtcTime(), nullable=True))
    op.add_column("keys", sa.Column("last_used_at", UtcTime(), nullable=True))
    op.add_column("keys", sa.Column("guessable", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "retired_secrets",
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_retired_secrets_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("pk_retired_secrets")),
    )
    op.create_index(op.f("ix_retired_secrets_key_id"), "retired_secrets", ["key_id"])
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.String(length=40), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_events_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_project", "audit_events", ["project_id", "id"])
    op.create_index(op.f("ix_audit_events_created_at"), "audit_events", ["created_at"])
    op.create_index("ix_artifacts_project", "artifacts", ["project_id", "size_bytes"])


def downgrade() -> None:
    op.drop_index("ix_artifacts_project", "artifacts")
    op.drop_table("audit_events")
    op.drop_table("retired_secrets")
    op.drop_column("keys", "guessable")
    op.drop_column("keys", "last_used_at")
    op.drop_column("keys", "expires_at")
    op.drop_column("keys", "scope")
