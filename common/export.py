"""The command `python -m common.export`, which common.tracking.export is."""

from common.cli.program import run_program
from common.tracking.export import main

if __name__ == "__main__":
    run_program(main)
