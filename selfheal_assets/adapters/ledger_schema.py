"""Bring a ledger's tables to this version by Alembic's migrations: a connection in. Never touches a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import HomeError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).with_name("ledger_migrations")
FIRST_RELEASE = "0001"
VERSION_TABLE = "ledger_version"
"""Of its own name, so that the ledger may share a database with others that Alembic migrates."""


def migrate(connection: "Connection", *, adopted: bool, migrations: Path = MIGRATIONS) -> None:
    """Within the caller's transaction. `adopted`: the first release made its tables, before there were versions.

    Raises HomeError for a ledger of a later version than this code.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    config = _configured(connection, migrations)
    try:
        if adopted:
            command.stamp(config, FIRST_RELEASE)
        command.upgrade(config, "head")
    except CommandError as error:
        where = connection.engine.url.render_as_string()
        raise HomeError(
            f"The ledger must be of this version of selfheal or of an earlier one; received {where} ({error}). "
            "Use the version that it was last used with, or a later one."
        ) from error


def schema_version(connection: "Connection") -> str | None:
    """The version of the ledger's tables; None when it was never migrated."""
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def newest_version(migrations: Path = MIGRATIONS) -> str:
    """The version that this code needs."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory(str(migrations)).get_current_head())


def _configured(connection: "Connection", migrations: Path) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config
