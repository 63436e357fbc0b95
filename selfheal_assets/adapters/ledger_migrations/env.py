"""Run the ledger's migrations for Alembic over the connection that it is given. Never opens or commits one itself."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table=context.config.attributes["version_table"]
)
with context.begin_transaction():
    context.run_migrations()
