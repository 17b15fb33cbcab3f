"""How a program ends: one line of error on standard error, an exit code that is not 0, and all ranks stopped."""

import os
import sys
import traceback
from typing import Callable

from common import distributed
from common.errors import InterruptedTrainingError, UserError


def run_program(main: Callable[[], int]) -> None:
    """Run `main` and leave the process with its exit code; a `UserError` becomes one line and exit code 1 (or its own).

    The process leaves at once: Horovod's orderly shutdown waits for the other ranks, which may be waiting for this
    one inside a collective operation, and a launcher that sees a rank gone with a code that is not 0 stops the rest.
    """
    try:
        code = main()
    except UserError as error:
        if not error.on_all_ranks or distributed.rank() == 0:
            where = f" (rank {distributed.rank()} of {distributed.size()})" if distributed.size() > 1 else ""
            label = "stopped" if isinstance(error, InterruptedTrainingError) else "error"
            print(f"{label}: {error}{where}", file=sys.stderr)
        code = getattr(error, "exit_code", 1)
    except Exception as error:
        # What Horovod and Gloo raise on the ranks that are left when one has gone.
        if not any(text in str(error) for text in ("Horovod has been shut down", "Connection closed by peer")):
            traceback.print_exc()
        else:
            print("stopped: another rank failed; its message says why", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C", file=sys.stderr)
        code = 130
    if code == 0:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
