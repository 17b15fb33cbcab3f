"""The command `python -m common.launch`, which common.launching.launch is."""

from common.cli.program import run_program
from common.launching.launch import main

if __name__ == "__main__":
    run_program(main)
