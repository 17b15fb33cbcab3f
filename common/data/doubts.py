"""What is taken as it is although it can hardly be meant: said in one line, once."""

import sys
from threading import Lock

from common import distributed
from common.errors import printable

_said: set[str] = set()
_lock = Lock()


def warn_once(kind: str, line: str) -> None:
    """Print a warning on standard error, unless this process has printed one of this kind; from any thread.

    Args:
        kind: names what is doubtful, for data of which a thousand files may have the same fault.
        line: where, what was found, what to do.
    """
    with _lock:
        if kind in _said:
            return
        _said.add(kind)
    where = f" (rank {distributed.rank()} of {distributed.size()})" if distributed.size() > 1 else ""
    print(f"warning: {printable(line)}{where}", file=sys.stderr, flush=True)


def forget() -> None:
    """Let every warning be printed again."""
    with _lock:
        _said.clear()
