"""A home with a ledger in a folder of its own, and the commands run over it."""

from pathlib import Path

from brain import Life
from typer.testing import CliRunner, Result

from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.cli import app


class Home:
    """A folder that the commands work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}")
        self.ledger.initialise()

    def keep(self, life: Life) -> None:
        """Write down the life, as far as it went."""
        self.ledger.append(*life.ledger.all_after(0, 10_000))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    def refused(self, *arguments: str) -> str:
        """What is said by a command that fails with one of our own errors."""
        said = self.run(*arguments)
        assert said.exit_code == 1, said.output
        assert isinstance(said.exception, SystemExit), "not a traceback"
        return said.output
