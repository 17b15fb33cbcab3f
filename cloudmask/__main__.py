"""The command line of CloudMask: python -m cloudmask COMMAND [--config FILE] [key=value ...]

run         train, mask the scenes of inference_dir, report (as the reference's main program does)
train       train only; the network is in the run folder
infer       mask scenes with a trained network
grid        mask scenes with each combination of modes, threads and precisions, and compare their speed
cluster     mask scenes without labels, by clusters and by self-training, and score them beside those that had some
download    --part PART --target-dir DIR       fetch the benchmark's data set from its public store
convert     PRODUCT.SEN3... --target DIR       Sentinel-3 products to files of the benchmark's kind
inspect     FOLDER...                            what scenes and products there are, and what would be refused
synthesize  make scenes in the real format and size
study       train networks and losses on labels of several errors, and compare; goes on where it was stopped

run and train take --resume [FOLDER], and --dry-run, which takes one update and says how much memory and time training
needs. Under `horovodrun -np N` they, infer and convert run on N ranks. COMMAND --help says more.
"""

import argparse
from pathlib import Path
from typing import get_args

from cloudmask import config as settings
from cloudmask.sen3 import Conversion
from common import distributed
from common.benchmarks import BENCHMARKS
from common.errors import UserError
from common.program import (
    Command,
    check_dry_run,
    run_commands,
    settings_arguments,
    settings_file,
    training_arguments,
)

# What a command needs is imported when it runs: a wrong word on the command line is answered at once.


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "cloudmask")
    parser.set_defaults(resume=None, dry_run=False)  # for commands that do not train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _config_arguments(parser)
    training_arguments(parser)


def _benchmark(options: argparse.Namespace) -> int:
    """Raises UserError if any scene could not be masked, when all is done."""
    resume = options.resume
    check_dry_run(options)
    config = settings.load(settings_file(options.config, resume), options.overrides)
    placement = distributed.init(config.threads, at_once=1 if options.command == "infer" else 2)
    from cloudmask import infer, train
    from common.runs.files import check_writable, deliver
    from common.session import open_session, unrecorded
    from common.training import precision

    command, wanted = options.command, config.report
    if options.dry_run:
        train.dry_run(config, unrecorded(placement))
        return 0
    if command == "run":
        precision.check("inference", config.inference)  # before hours of training
    files = [wanted.log_file, wanted.mlperf_logfile, wanted.model_file if command != "infer" else ""]
    distributed.on_root(lambda: check_writable(*(Path(name) for name in files if name)))
    failed, scenes, model_file = 0, 0, None
    with open_session(command, BENCHMARKS["cloudmask"], config, placement, resume) as session:
        if command in ("run", "train"):
            train.train(config, session)
            model_file = str(session.run / "model.keras")
        if command in ("run", "infer"):
            summary = infer.infer(config, session, model_file)
            failed = len(summary["failed"])
            scenes = failed + summary["inferences"]
        if wanted.mlperf_logfile and distributed.is_root():
            deliver(session.run / "mlperf.log", Path(wanted.mlperf_logfile))
    if failed:
        raise UserError(f"{failed} of {scenes} scenes could not be masked, as said above; the others are done", True)
    return 0


def _cluster(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    placement = distributed.init(config.threads)
    from cloudmask.cluster import command
    from common.session import open_session

    with open_session("cluster", BENCHMARKS["cloudmask"], config, placement) as session, session.timed():
        command.main(config, session)
    return 0


def _grid(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    from common import grid

    keys = {name: f"inference.{name}" for name in ("mode", "tile_size", "precision")}
    axes = grid.Axes("cloudmask", {"mode": keys.pop("mode"), "threads": "threads", **keys}, ("inference.pictures=0",))
    return grid.main(axes, config, options.config, options.overrides)


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part", required=True, help="training (971 scenes, 163 GiB), inference (100, 17 GiB), one-day or ssts"
    )
    parser.add_argument("--target-dir", required=True, metavar="DIR", help="where files go; those there are kept")
    parser.add_argument("--num-files", type=int, metavar="N", help="scenes to fetch, first by name; default all")
    parser.add_argument("--num-streams", type=int, default=4, metavar="N", help="files at a time, 4 at most")
    parser.add_argument("--force", action="store_true", help="allow more than 4 streams")
    parser.add_argument("--url", metavar="URL", help="of another store with the same files: its bucket's address")


def _download(options: argparse.Namespace) -> int:
    from cloudmask.tools import download

    return download.main(options)


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("products", nargs="+", metavar="PRODUCT", help="*.SEN3, or a folder of them, at any depth")
    parser.add_argument("--target", required=True, metavar="DIR", help="where scenes go; those there are kept")
    parser.add_argument(
        "--like",
        choices=get_args(Conversion),
        default="dataset",
        help="dataset: as the benchmark's files were made; dataset_last_row: as the converter's earlier version made "
        "them, with one sun for all rows; physical: the measurements themselves",
    )


def _convert(options: argparse.Namespace) -> int:
    distributed.init(uses_gpu=False)
    from cloudmask.tools import convert

    return convert.main(options.products, options.target, options.like)


def _inspect(options: argparse.Namespace) -> int:
    from cloudmask.tools import inspect

    return inspect.main(options)


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    from cloudmask.tools import inspect

    inspect.arguments(parser)


def _synthesize(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    from cloudmask.tools import synthesize

    return synthesize.main(config.synthesize, config.data)


def _study(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    from cloudmask.study import command

    return command.main(config)


COMMANDS = {
    "run": Command(_train_arguments, _benchmark),
    "train": Command(_train_arguments, _benchmark),
    "infer": Command(_config_arguments, _benchmark),
    "cluster": Command(_config_arguments, _cluster),
    "grid": Command(_config_arguments, _grid),
    "download": Command(_download_arguments, _download),
    "convert": Command(_convert_arguments, _convert),
    "inspect": Command(_inspect_arguments, _inspect),
    "synthesize": Command(_config_arguments, _synthesize),
    "study": Command(_config_arguments, _study),
}

if __name__ == "__main__":
    run_commands("cloudmask", __doc__, COMMANDS)
