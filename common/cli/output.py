"""Standard output and error that cannot be written: a pipe whose reader has gone, a full disk, a terminal that is gone.

A program that only prints ends there, with one line. One that computes goes on without the output, as its results are
in files; it says so once on standard error. What cannot be written to standard error is dropped.
"""

import contextlib
import io
import os
import sys
from typing import Any, Optional


class OutputError(OSError):
    """Standard output cannot be written."""


class _Stream(io.FileIO):
    """The descriptor of a standard stream.

    Attributes:
        needed: whether an error of writing is raised; otherwise all that follows is dropped.
    """

    def __init__(self, descriptor: int, *, needed: bool):
        super().__init__(descriptor, "w", closefd=False)
        self.needed, self._lost = needed, False

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        while left and not self._lost:
            try:
                left = left[super().write(left) or 0 :]
            except OSError as error:
                self._fail(error)
        return size

    def _fail(self, error: OSError) -> None:
        if self.needed and not isinstance(error, BrokenPipeError):
            raise OutputError(error.errno, error.strerror, "standard output") from error
        if self.needed:
            raise error
        self._lost = True
        if self.fileno() == 1:
            print(f"standard output cannot be written ({error.strerror}): continuing without it", file=sys.stderr)


_stdout: Optional[_Stream] = None


def install() -> None:
    """Put streams with these rules in place of Python's own, unless somebody else has."""
    global _stdout
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        raw = _Stream(stream.fileno(), needed=name == "stdout")
        buffer: Any = raw if stream.write_through else io.BufferedWriter(raw)
        options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, stream.errors, **options))
        if name == "stdout":
            _stdout = raw


def do_without() -> None:
    """From here on the program continues, whatever happens to standard output."""
    if _stdout is not None:
        _stdout.needed = False


def flush() -> None:
    """Write what was printed. Raises OSError if standard output is needed and cannot be written."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        # Python flushes again when it exits, and would print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise
