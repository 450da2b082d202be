"""stretches of metric points, so that long curves are drawn from few rows; what lists of jobs are asked for"""

import sqlalchemy as sa
from alembic import op

from models.base import UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = "job_id, arm, seed, name"
KEPT = "points, first_step, last_step, low_step, low, low_time, high_step, high, high_time"
POINT = "1 AS points, step AS first_step, step AS last_step, step AS low_step, value AS low, time AS low_time, "
POINT += "step AS high_step, value AS high, time AS high_time"


def upgrade() -> None:
    op.create_table(
        "metric_spans",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("arm", sa.String(length=32), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("low_step", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Float(precision=53), nullable=False),
        sa.Column("low_time", UtcTime(), nullable=False),
        sa.Column("high_step", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.Float(precision=53), nullable=False),
        sa.Column("high_time", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_metric_spans_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "arm", "seed", "name", "width", "start", name=op.f("pk_metric_spans")),
    )
    _summarise(16, f"(SELECT {KEY}, step AS at, {POINT} FROM metric_points)")  # noqa: S608
    for width, below in ((256, 16), (4096, 256), (65536, 4096)):
        _summarise(width, f"(SELECT {KEY}, start AS at, {KEPT} FROM metric_spans WHERE width = {below})")  # noqa: S608

    top = sa.text("parent_id IS NULL AND sweep_id IS NULL")
    op.create_index("ix_jobs_top", "jobs", ["project_id", "id"], postgresql_where=top, sqlite_where=top)
    op.create_index("ix_jobs_name", "jobs", ["project_id", "name", "id"])
    op.create_index("ix_jobs_kind", "jobs", ["project_id", "kind", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_jobs_metadata", "jobs", ["metadata"], postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"})


def _summarise(width: int, source: str) -> None:
    stretch = f"PARTITION BY {KEY}, at / {width}"
    ends = ", ".join(f"max(CASE WHEN {end}_rank = 1 THEN {end}{kind} END)" for end in ("low", "high") for kind in ("_step", "", "_time"))
    op.execute(
        f"""INSERT INTO metric_spans ({KEY}, width, start, {KEPT})
        SELECT {KEY}, {width}, at / {width} * {width}, sum(points), min(first_step), max(last_step), {ends}
        FROM (SELECT *, row_number() OVER ({stretch} ORDER BY low, low_step) AS low_rank,
          row_number() OVER ({stretch} ORDER BY high DESC, high_step) AS high_rank FROM {source} AS found) AS ranked
        GROUP BY {KEY}, at / {width}"""  # noqa: S608
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_jobs_metadata", "jobs")
    for name in ("ix_jobs_kind", "ix_jobs_name", "ix_jobs_top"):
        op.drop_index(name, "jobs")
    op.drop_table("metric_spans")
