"""The command line, python -m common.scaling bench-allreduce|predict; the equations are in common.scaling.model."""

import argparse
import json
import sys
from pathlib import Path
from typing import Optional

from common.cli.program import Parser, run_program
from common.errors import UserError
from common.report.tables import show
from common.scaling import model
from common.scaling.model import Job, Link, predict
from common.scaling.show import draw, prediction_table

_RANKS = tuple(2**power for power in range(16))  # 1 to 32768


def _link(path: Optional[str], values: Optional[list], name: str) -> Optional[Link]:
    """A link from two values, in us and GB/s, or from bench-allreduce's file; None without either."""
    if values:
        return Link(values[0] / 1e6, values[1] * 1e9)
    if path is None:
        return None
    try:
        return Link(**json.loads(Path(path).read_text(encoding="utf-8"))["float32"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: was not written by bench-allreduce ({error}); give --{name} US GB_S") from error


def _measured(texts: list) -> dict:
    try:
        return {int(ranks): float(seconds) for ranks, seconds in (text.split(":") for text in texts)}
    except ValueError:
        raise UserError(f"--measured {' '.join(texts)}: RANKS:SECONDS expected, such as 2:0.71") from None


def parse(arguments: list) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        "python -m common.scaling", description=model.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench-allreduce")
    bench.add_argument("--output", metavar="FILE", help="JSON file for predict")
    add = commands.add_parser("predict").add_argument
    add("--step-seconds", type=float, required=True, help="of one rank alone")
    add("--gradient-bytes", type=float, required=True, help="4 a trainable parameter, 2 compressed")
    add("--allreduce", metavar="FILE", help="what bench-allreduce wrote: the link between ranks")
    add("--between", type=float, nargs=2, metavar=("US", "GB_S"), help="link of a rank between nodes")
    add("--inside", type=float, nargs=2, metavar=("US", "GB_S"), help="link of a rank inside a node")
    add("--ranks-per-node", type=int, default=1)
    add("--cycle-ms", type=float, default=1.0, help="HOROVOD_CYCLE_TIME; training sets 20 on CPUs")
    add("--spread", type=float, default=0.0, help="standard deviation of a rank's step, s")
    add("--local-batch", type=float, default=1.0)
    add("--measured", nargs="*", default=[], metavar="RANKS:SECONDS", help="steps to compare with")
    add("--picture", metavar="PNG")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the command `common.scaling`. Returns the exit code."""
    options = parse(sys.argv[1:])
    if options.command == "bench-allreduce":
        from common.scaling import allreduce  # loads TensorFlow

        return allreduce.bench(options.output)
    between = _link(options.allreduce, options.between, "between")
    if between is None:
        raise UserError("give --allreduce FILE (from bench-allreduce) or --between US GB_S")
    job = Job(
        options.step_seconds,
        options.gradient_bytes,
        between,
        _link(None, options.inside, "inside"),
        options.ranks_per_node,
        options.cycle_ms / 1000,
        options.spread,
        options.local_batch,
    )
    measured = _measured(options.measured)
    predictions = [predict(job, ranks) for ranks in sorted({*_RANKS, *measured})]
    show(prediction_table(predictions, measured), width=130)
    if options.picture:
        draw(predictions, measured, job, Path(options.picture))
        print(f"written: {options.picture}")
    return 0


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()
