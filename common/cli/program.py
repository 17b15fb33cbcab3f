"""How a program starts and ends: its commands, the arguments that they share, and its exit code.

A program that fails prints one line, exits with a code other than 0, and all ranks stop.
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
from common.cli import output
from common.distributed import status
from common.errors import InterruptedTrainingError, UserError, storage_problem

_WAIT_FOR_RANK_0_SECONDS = 20.0  # at most: a launcher that sees rank 0 end stops the others
_PIPE_CLOSED = 128 + signal.SIGPIPE
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Parts of the errors that Horovod raises on the other ranks when one has ended. Gloo has a message for each way in
# which a peer may be lost (closed, reset, silent for too long); all but the second one here name Gloo's source file.
_PEER_GONE = ("Horovod has been shut down", "Application timeout caused pair closure", "/gloo/transport/")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a `UserError`, and so one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


class Command(NamedTuple):
    """A command of a benchmark.

    Attributes:
        arguments: adds the command's arguments to a parser.
        run: runs the command and returns the exit code.
        only_prints: whether its result is what it prints; others go on if that cannot be written.
    """

    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], int]
    only_prints: bool = False


def run_commands(package: str, text: Optional[str], commands: dict[str, Command]) -> None:
    """Run the command that the command line names, `python -m PACKAGE COMMAND ...`, and exit the process.

    Args:
        package: name of the package, for usage lines.
        text: what `--help` without a command prints.
        commands: the package's commands by name.
    """

    def main() -> int:
        words = sys.argv[1:]
        if not words or words[0] in ("-h", "--help"):
            print((text or "").rstrip())
            return 0 if words else 2
        name = words[0]
        if name not in commands:
            near = difflib.get_close_matches(name, commands, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(commands)}"
            raise UserError(f"there is no command '{name}': {hint}")
        parser = Parser(f"python -m {package} {name}")
        commands[name].arguments(parser)
        options = parser.parse_intermixed_args(words[1:])
        options.command = name
        if not commands[name].only_prints:
            output.do_without()
        return commands[name].run(options)

    run_program(main)


def whole_number(least: int = 0, most: Optional[int] = None, multiple_of: int = 1) -> Callable[[str], int]:
    """Return a `type` for argparse that accepts whole numbers.

    Args:
        least: smallest number accepted.
        most: largest number accepted; None for no limit.
        multiple_of: divisor that the number must have.
    """

    def parse(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most) or number % multiple_of:
            bound = f"at least {least}" if most is None else f"from {least} to {most}"
            multiple = f", a multiple of {multiple_of}" if multiple_of > 1 else ""
            raise argparse.ArgumentTypeError(f"must be {bound}{multiple} (found: {text})")
        return number

    parse.__name__ = "whole number"  # argparse shows this name for a text that is not a number
    return parse


def settings_arguments(parser: argparse.ArgumentParser, package: str) -> None:
    """Add --config and `key=value` overrides to a parser."""
    parser.add_argument(
        "--config", metavar="FILE", help=f"YAML file; `python -m common.config show {package}` lists all settings"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as training.seed=3")


def grid_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Add --axis and --ranks, for inference over a grid of settings.

    Args:
        parser: the parser to extend.
        example: an axis, for the help text.
    """
    parser.add_argument(
        "--axis",
        action="append",
        required=True,
        metavar="KEY=A,B",
        help=f"a setting and its values, such as {example}; the heat map's rows (first axis) or columns (second)",
    )
    parser.add_argument(
        "--ranks", type=whole_number(1), default=1, metavar="N", help="ranks of each run, started by horovodrun"
    )


def training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --resume and --dry-run, whose combination `check_dry_run` checks."""
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="FOLDER",
        help="resume the run in FOLDER, by default the newest run, from its newest checkpoint",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="make a few updates, evaluate a batch, print the memory and time that training needs, and write no files",
    )


def check_dry_run(options: argparse.Namespace) -> None:
    """Raise UserError if both --dry-run and --resume are given."""
    if options.dry_run and options.resume:
        raise UserError("--dry-run starts a new run and keeps nothing of it: leave out --resume")


def settings_file(config_file: Optional[str], resume: Optional[str]) -> Optional[str]:
    """Return the YAML file to load.

    Args:
        config_file: the argument of --config.
        resume: the argument of --resume, a run folder or "auto".

    Returns:
        `config_file`, or without one the config.yaml of the run folder that is resumed; None for the defaults.

    Raises:
        UserError: if the folder to resume is not a run folder.
    """
    if config_file is None and resume is not None and resume != "auto":
        if not (Path(resume).expanduser() / "config.yaml").is_file():
            raise UserError(f"{resume}: is not a run folder (it has no config.yaml), so it cannot be resumed")
        return str(Path(resume).expanduser() / "config.yaml")
    return config_file


def run_program(main: Callable[[], int]) -> None:
    """Run `main` and exit with its code; a `UserError` becomes one line and exit code 1 (or the error's own).

    After an error the process exits at once: Horovod's orderly shutdown waits for the other ranks, which may be waiting
    for this one in a collective operation. A launcher that sees a rank exit with a code other than 0 stops the others.
    """
    output.install()
    try:
        code = main()
    except UserError as error:
        code = _end_with_error(error)
    except BrokenPipeError:  # the reader of a pipe has gone, such as `head`
        code = _PIPE_CLOSED
    except Exception as error:
        code = _end_with_exception(error)
    except KeyboardInterrupt:
        code = _end("interrupted", "error: stopped by Ctrl-C", 130)
    code = _flush(code)
    if code == 0:
        sys.exit(0)
    os._exit(code)


def _flush(code: int) -> int:
    """Flush what was printed; return the exit code, that of SIGPIPE if nothing reads the output any more."""
    try:
        output.flush()
    except BrokenPipeError:
        return code or _PIPE_CLOSED
    except OSError as error:
        return code or _end_with_exception(error)
    return code


def _end(kind: str, line: str, code: int) -> int:
    """Tell the user, and a launcher that asked for it, how the program ended; return the exit code."""
    status.end(kind, line, code)
    print(line, file=sys.stderr)
    return code


def _end_with_error(error: UserError) -> int:
    code = getattr(error, "exit_code", 1)
    if error.on_all_ranks and distributed.rank() > 0:
        # A launcher stops all ranks when one has ended: rank 0 must have printed the message by then.
        time.sleep(_WAIT_FOR_RANK_0_SECONDS)
        return code
    where = f" (rank {distributed.rank()} of {distributed.size()})" if distributed.size() > 1 else ""
    if isinstance(error, InterruptedTrainingError):
        return _end("stopped", f"stopped: {error}{where}", code)
    return _end("error", f"error: {error}{where}", code)


def _end_with_exception(error: Exception) -> int:
    if isinstance(error, output.OutputError):
        return _end("error", f"error: standard output cannot be written ({error.strerror})", 1)
    disk_full = _full_disk(error)
    if disk_full:
        return _end("error", f"error: {disk_full}", 1)
    if any(text in str(error) for text in _PEER_GONE):
        return _end("peer_lost", "stopped: another rank failed; its message says why", 1)
    traceback.print_exc()
    message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    status.end("fault", f"error: rank {status.own_rank()} failed, see its traceback above ({message})", 1)
    return 1


def _full_disk(error: Exception) -> str:
    """Return one line that says which file a full disk could not take; empty for any other error."""
    if getattr(error, "errno", None) not in _DISK_FULL and "No space left on device" not in str(error):
        return ""
    where = getattr(error, "filename", None) or "a file of the run"
    folder = Path(where).parent if isinstance(where, str) and Path(where).parent.is_dir() else Path.cwd()
    return f"{where}: cannot be written ({storage_problem(error, folder)}); files that were complete are kept"
