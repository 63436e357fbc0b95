"""Lay the ledger out as the first release does: records chained by their hashes, and the head that names the newest."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """On a database without a ledger."""
    whole_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "records",
        sa.Column("sequence", whole_number, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("model", "kind", "subject", "status")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("event_time", "recorded_at", "payload", "hash")),
    )
    op.create_index("records_by_event_time", "records", ["model", "kind", "event_time", "sequence"])
    op.create_index("records_by_kind", "records", ["model", "kind", "sequence"])
    op.create_index("records_by_subject", "records", ["model", "kind", "subject", "sequence"])
    op.create_table(
        "head",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("sequence", whole_number, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
