"""The command `python -m common.run`, which common.launching.run is."""

from common.cli.program import run_program
from common.launching.run import main

if __name__ == "__main__":
    run_program(main)
