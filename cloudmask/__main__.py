"""The command line of CloudMask: python -m cloudmask COMMAND [--config FILE] [key=value ...]

run         train, mask the scenes of inference_dir, report (as the reference's main program does)
train       train only; the network is saved in the run folder
infer       mask scenes with a trained network
grid        --axis KEY=A,B [--axis ...]        mask scenes with each combination of settings and compare their speed
cluster     learn to mask scenes without labels (a rule, then self-training), and score the masks
download    --part PART --target-dir DIR       download the benchmark's data set from its public store
fetch       --near LAT,LON --at DATE --target DIR    search and download Sentinel-3 products (by eodag)
convert     PRODUCT.SEN3... --target DIR       convert Sentinel-3 products to files in the benchmark's format
inspect     FOLDER...                          list scenes and products, and those that would be refused
synthesize  --folder DIR [--scenes N ...]      make scenes in the real format and size
study       compare networks and losses at several rates of label error; resumes where it stopped

run and train take --resume [FOLDER], and --dry-run, which makes a few updates and reports the memory and time that
training needs. Under `horovodrun -np N`, run, train, infer and convert use N ranks. See COMMAND --help for more.
"""

import argparse
from pathlib import Path
from typing import get_args

from cloudmask import config as settings
from cloudmask.benchmark import BENCHMARK
from cloudmask.sen3 import Conversion
from common import distributed
from common.cli.program import (
    Command,
    check_dry_run,
    grid_arguments,
    run_commands,
    settings_arguments,
    settings_file,
    training_arguments,
    whole_number,
)
from common.config.axes import check_combinations, parse_axes
from common.errors import UserError

# Each command imports what it needs when it runs, so that a mistake on the command line is reported at once.


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "cloudmask")
    parser.set_defaults(resume=None, dry_run=False)  # for commands that do not train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _config_arguments(parser)
    training_arguments(parser)


def _benchmark(options: argparse.Namespace) -> int:
    """Run `run`, `train` or `infer`.

    Raises:
        UserError: if any scene could not be masked; the others are masked and the report is written first.
    """
    resume = options.resume
    check_dry_run(options)
    config = settings.load(settings_file(options.config, resume), options.overrides)
    placement = distributed.init(config.threads, at_once=1 if options.command == "infer" else 2)
    from cloudmask import infer, train
    from cloudmask.infer.trained import as_trained
    from common.keras import precision
    from common.runs.files import check_writable, deliver
    from common.session import open_session, unrecorded

    command, report = options.command, config.report
    if options.dry_run:
        train.dry_run(config, unrecorded(placement))
        return 0
    notes: list[str] = []
    if command == "run":
        precision.check("inference", config.inference)  # before hours of training
    elif command == "infer":
        config, notes = as_trained(config)
    files = [report.log_file, report.mlperf_logfile, report.model_file if command != "infer" else ""]
    distributed.on_root(lambda: check_writable(*(Path(name) for name in files if name)))
    failed, scenes, model_file = 0, 0, None
    with open_session(command, BENCHMARK, config, placement, resume) as session:
        for note in notes:
            session.run.say(note)
        if command in ("run", "train"):
            train.train(config, session)
            model_file = str(session.run / "model.keras")
        if command in ("run", "infer"):
            inference = infer.infer(config, session, model_file)
            failed = len(inference.failed)
            scenes = failed + inference.inferences
        if report.mlperf_logfile and distributed.is_root():
            deliver(session.run / "mlperf.log", Path(report.mlperf_logfile))
    if failed:
        raise UserError(
            f"{failed} of {scenes} scenes could not be masked, as reported above; the others are done",
            on_all_ranks=True,
        )
    return 0


def _cluster(options: argparse.Namespace) -> int:
    from cloudmask.research import config as research

    config = research.load(options.config, options.overrides)
    placement = distributed.init(config.threads)
    from cloudmask.research.cluster import command
    from common.session import open_session

    with open_session("cluster", BENCHMARK, config, placement) as session, session.timed(resumable=False):
        command.main(config, session)
    return 0


def _grid_arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "cloudmask")
    grid_arguments(parser, "inference.mode=whole,tiles")


def _grid(options: argparse.Namespace) -> int:
    axes = parse_axes("--axis", options.axis, options.overrides)
    config = settings.load(options.config, options.overrides)
    check_combinations(axes, lambda chosen: settings.load(options.config, [*options.overrides, *chosen]))
    from common.measuring import grid

    return grid.main(grid.Program("cloudmask", ("inference.pictures=0",)), config, axes, options)


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part", required=True, help="training (971 scenes, 163 GiB), inference (100, 17 GiB), one-day or ssts"
    )
    parser.add_argument(
        "--target-dir", required=True, metavar="DIR", help="where the files go; existing files are kept"
    )
    parser.add_argument("--num-files", type=int, metavar="N", help="fetch only the first N scenes by name; default all")
    parser.add_argument("--num-streams", type=int, default=4, metavar="N", help="files downloaded at a time, at most 4")
    parser.add_argument("--force", action="store_true", help="allow more than 4 streams")
    parser.add_argument("--url", metavar="URL", help="address of another store's bucket with the same files")


def _download(options: argparse.Namespace) -> int:
    from cloudmask.tools import download

    return download.main(options)


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    from cloudmask.fetch import command

    command.arguments(parser)


def _fetch(options: argparse.Namespace) -> int:
    from cloudmask.fetch import command

    return command.main(options)


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="+",
        metavar="PRODUCT | key=value",
        help="*.SEN3, or a folder of them, at any depth; settings by which they are converted, such as data.stripe=b",
    )
    parser.add_argument("--target", required=True, metavar="DIR", help="where the scenes go; existing scenes are kept")
    parser.add_argument(
        "--like",
        choices=get_args(Conversion),
        help="short for data.sen3=LIKE. dataset, the default: as the benchmark's files were made; dataset_last_row: as "
        "an earlier version of the converter "
        "made them, with the last row's sun in every row; physical: the measurements themselves",
    )


def _convert(options: argparse.Namespace) -> int:
    distributed.init(uses_gpu=False)
    from cloudmask.tools import convert, words

    sources, overrides = words.sort(options.words)
    like = [f"data.sen3={options.like}"] if options.like else []
    return convert.main(sources, options.target, settings.load(None, [*overrides, *like]).data)


def _synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--folder", metavar="DIR", help="where the scenes go; existing scenes are kept")
    add("--scenes", type=whole_number(1), default=16, metavar="N", help="scenes to make, 16 by default")
    add(
        "--form",
        choices=["dataset", "small", "sen3"],
        default="dataset",
        help="dataset: the benchmark's own files, 180 MB a scene; small: float32 with NaN, 67 MB; sen3: Sentinel-3 "
        "products",
    )
    add("--seed", type=whole_number(0, 2**32 - 1), default=0, help="scene n depends only on (seed, n)")
    add(
        "--label-error",
        type=_label_error,
        default=0.1,
        metavar="SHARE",
        help="share of labels that are wrong, below 0.5",
    )
    add("--height", type=whole_number(1), default=1200, help="in pixels of the 1 km grid")
    add("--width", type=whole_number(1), default=1500, help="in pixels of the 1 km grid")
    add("settings", nargs="*", help=argparse.SUPPRESS)  # key=value, refused with a hint


def _label_error(text: str) -> float:
    share = float(text)
    if not 0 <= share < 0.5:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 0.5 (found: {text})")
    return share


def _inspect(options: argparse.Namespace) -> int:
    from cloudmask.tools import inspect

    return inspect.main(options)


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    from cloudmask.tools import inspect

    inspect.arguments(parser)


def _synthesize(options: argparse.Namespace) -> int:
    if options.settings or not options.folder:
        problem = f"synthesize takes no '{options.settings[0]}'" if options.settings else "--folder is missing"
        raise UserError(f"{problem}: {settings.SYNTHESIZE}")
    from cloudmask.tools import synthesize

    names = synthesize.Collection._fields
    return synthesize.main(synthesize.Collection(**{name: getattr(options, name) for name in names}))


def _study(options: argparse.Namespace) -> int:
    from cloudmask.research import config as research
    from cloudmask.research.study import command

    return command.main(research.load(options.config, options.overrides))


COMMANDS = {
    "run": Command(_train_arguments, _benchmark),
    "train": Command(_train_arguments, _benchmark),
    "infer": Command(_config_arguments, _benchmark),
    "cluster": Command(_config_arguments, _cluster),
    "grid": Command(_grid_arguments, _grid),
    "download": Command(_download_arguments, _download),
    "fetch": Command(_fetch_arguments, _fetch),
    "convert": Command(_convert_arguments, _convert),
    "inspect": Command(_inspect_arguments, _inspect, only_prints=True),
    "synthesize": Command(_synthesize_arguments, _synthesize),
    "study": Command(_config_arguments, _study),
}


def main() -> None:
    """The console command; leaves the process."""
    run_commands("cloudmask", __doc__, COMMANDS)


if __name__ == "__main__":
    main()
