"""The command `python -m common.export`, which common.tracking.export is."""

from common.cli.program import run_program
from common.tracking.export import main


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()
