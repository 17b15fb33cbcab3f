"""How a program starts and ends: its commands and shared arguments; one line of error, an exit code that is not 0, and
all ranks stopped.
"""

import argparse
import difflib
import errno
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, NamedTuple, NoReturn, Optional

from common import distributed
from common.distributed import status
from common.errors import InterruptedTrainingError, UserError, storage_problem

_RANK_0_SPEAKS_SECONDS = 20.0  # at most: a launcher that sees rank 0 gone ends the others
_NOBODY_READS = 128 + signal.SIGPIPE
_FULL = (errno.ENOSPC, errno.EDQUOT)
# In what Horovod raises on the ranks that are left when one has gone. Gloo has a message for each way in which a peer
# may go (closed, reset, silent for too long); all but the second one here begin with the file that they were raised in.
_PEER_GONE = ("Horovod has been shut down", "Application timeout caused pair closure", "/gloo/transport/")


class Parser(argparse.ArgumentParser):
    """Mistakes on the command line end as all others do: with one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` says what it takes")


class Command(NamedTuple):
    """arguments: adds its own to a parser. run: does it, returns the exit code."""

    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], int]


def run_commands(package: str, text: Optional[str], commands: dict[str, Command]) -> None:
    """`python -m PACKAGE COMMAND ...`; leaves the process. text: what --help says of all."""

    def main() -> int:
        words = sys.argv[1:]
        if not words or words[0] in ("-h", "--help"):
            print((text or "").rstrip())
            return 0 if words else 2
        name = words[0]
        if name not in commands:
            near = difflib.get_close_matches(name, commands, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(commands)}"
            raise UserError(f"there is no command '{name}': {hint}")
        parser = Parser(f"python -m {package} {name}")
        commands[name].arguments(parser)
        options = parser.parse_intermixed_args(words[1:])
        options.command = name
        return commands[name].run(options)

    run_program(main)


def whole_number(least: int = 0, most: Optional[int] = None, multiple_of: int = 1) -> Callable[[str], int]:
    """Return what argparse takes as an option's `type`, for whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most) or number % multiple_of:
            bound = f"at least {least}" if most is None else f"from {least} to {most}"
            multiple = f", a multiple of {multiple_of}" if multiple_of > 1 else ""
            raise argparse.ArgumentTypeError(f"must be {bound}{multiple} (found: {text})")
        return number

    parse.__name__ = "whole number"  # argparse names it where the text is no number
    return parse


def settings_arguments(parser: argparse.ArgumentParser, package: str) -> None:
    """--config and overrides."""
    parser.add_argument(
        "--config", metavar="FILE", help=f"YAML file; `python -m common.config show {package}` lists all settings"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as training.seed=3")


def grid_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Add --axis and --ranks of a grid of inferences. example: of an axis."""
    parser.add_argument(
        "--axis",
        action="append",
        required=True,
        metavar="KEY=A,B",
        help=f"a setting and its values, such as {example}; the first goes down in the heat map, the second across",
    )
    parser.add_argument("--ranks", type=whole_number(1), default=1, metavar="N", help="of each run, under horovodrun")


def training_arguments(parser: argparse.ArgumentParser) -> None:
    """--resume and --dry-run, which `check_dry_run` looks at."""
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="FOLDER",
        help="go on with a run from its newest checkpoint: its folder, or the newest run if none is given",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="take one update, judge one batch, say how much memory and time the training needs, and leave no file",
    )


def check_dry_run(options: argparse.Namespace) -> None:
    """Raises UserError for a dry run that is to be resumed."""
    if options.dry_run and options.resume:
        raise UserError("--dry-run begins anew and leaves nothing: leave --resume out")


def settings_file(config_file: Optional[str], resume: Optional[str]) -> Optional[str]:
    """The YAML file to load: the one that was named, or the run's own if a run's folder is resumed without one."""
    if config_file is None and resume is not None and resume != "auto":
        if not (Path(resume).expanduser() / "config.yaml").is_file():
            raise UserError(f"{resume}: is not a run folder (it has no config.yaml), so there is no run to resume")
        return str(Path(resume).expanduser() / "config.yaml")
    return config_file


def run_program(main: Callable[[], int]) -> None:
    """Run `main` and leave the process with its exit code; a `UserError` becomes one line and exit code 1 (or its own).

    The process leaves at once: Horovod's orderly shutdown waits for the other ranks, which may be waiting for this
    one inside a collective operation, and a launcher that sees a rank gone with a code that is not 0 stops the rest.
    """
    try:
        code = main()
    except UserError as error:
        code = _end_with_error(error)
    except BrokenPipeError:  # the reader of a pipe has gone, such as `head`
        code = _NOBODY_READS
    except Exception as error:
        code = _end_with_exception(error)
    except KeyboardInterrupt:
        code = _end("interrupted", "error: stopped by Ctrl-C", 130)
    code = _flush(code)
    if code == 0:
        sys.exit(0)
    os._exit(code)


def _flush(code: int) -> int:
    """Write what is still to be printed; returns the exit code, that of SIGPIPE where nobody reads it any more."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Python flushes once more as it ends, and would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or _NOBODY_READS
    return code


def _end(kind: str, line: str, code: int) -> int:
    """Say how the program ends, to its user and to a launcher that asked; returns the exit code."""
    status.end(kind, line, code)
    print(line, file=sys.stderr)
    return code


def _end_with_error(error: UserError) -> int:
    code = getattr(error, "exit_code", 1)
    if error.on_all_ranks and distributed.rank() > 0:
        # A launcher stops all ranks when one has gone: rank 0 must have spoken by then.
        time.sleep(_RANK_0_SPEAKS_SECONDS)
        return code
    where = f" (rank {distributed.rank()} of {distributed.size()})" if distributed.size() > 1 else ""
    if isinstance(error, InterruptedTrainingError):
        return _end("stopped", f"stopped: {error}{where}", code)
    return _end("error", f"error: {error}{where}", code)


def _end_with_exception(error: Exception) -> int:
    full = _full_disk(error)
    if full:
        return _end("error", f"error: {full}", 1)
    if any(text in str(error) for text in _PEER_GONE):
        return _end("peer_lost", "stopped: another rank failed; its message says why", 1)
    traceback.print_exc()
    message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    status.end("fault", f"error: rank {distributed.rank()} failed, see its traceback above ({message})", 1)
    return 1


def _full_disk(error: Exception) -> str:
    """One line on a disk that is full, wherever it was noticed; empty for any other error."""
    if getattr(error, "errno", None) not in _FULL and "No space left on device" not in str(error):
        return ""
    where = getattr(error, "filename", None) or "a file of the run"
    folder = Path(where).parent if isinstance(where, str) and Path(where).parent.is_dir() else Path.cwd()
    return f"{where}: cannot be written ({storage_problem(error, folder)}); what was complete is kept"
