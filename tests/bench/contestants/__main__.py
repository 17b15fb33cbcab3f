"""One contestant: python -m tests.bench.contestants PROGRAM BENCHMARK KIND PRECISION

Warmed up it prints what it is, then does one unit of work for each line of its standard input and prints its seconds;
both as lines that begin with "> ".
"""

import importlib
import sys

from common.measuring.timing import repeat


def main() -> None:
    program, *what = sys.argv[1:]
    work, name = importlib.import_module(f"tests.bench.contestants.{program}").build(*what)
    repeat(work, 2, 0)
    print(f"> {name}", flush=True)
    for _ in sys.stdin:
        print(f"> {repeat(work, 1, 0)[0]}", flush=True)


if __name__ == "__main__":
    main()
