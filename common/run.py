"""The command `python -m common.run`, which common.launching.run is."""

from common.cli.program import run_program
from common.launching.run import main


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()
