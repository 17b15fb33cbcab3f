"""Runs mlperf-logging's compliance checker over many logs in one process: to start one for each takes most of the time.

    python -m common.report.checker        called by common.report.compliance

Reads a JSON list of command lines from standard input, and prints a JSON line with exit code and output for each. It is
a process of its own, so that whatever a log does to the checker stays there.
"""

import contextlib
import io
import json
import logging
import runpy
import sys
import traceback

CHECKER = "mlperf_logging.compliance_checker"


def check(words: list[str]) -> dict:
    """Run the checker as its own program, with these words behind its name."""
    output, code = io.StringIO(), 0
    root = logging.getLogger()
    for handler in list(root.handlers):  # of the log before
        root.removeHandler(handler)
        handler.close()
    sys.argv = [CHECKER, *words]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_module(CHECKER, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        except Exception:
            code = 1
            traceback.print_exc()
    return {"code": code, "output": output.getvalue()}


def main() -> None:
    for words in json.load(sys.stdin):
        print(json.dumps(check(words)), flush=True)


if __name__ == "__main__":
    main()
