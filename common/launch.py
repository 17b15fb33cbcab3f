"""The command `python -m common.launch`, which common.launching.launch is."""

from common.cli.program import run_program
from common.launching.launch import main


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()
