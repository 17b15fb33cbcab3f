"""The command line of DeepCAM: python -m tf_deepcam COMMAND ...

train       --config FILE [--resume [FOLDER]] [key=value ...]   train to the target IoU or max_epochs; --dry-run: a
                                                                few updates, and what the whole run will need
infer       --config FILE [key=value ...]                       the inference benchmark
grid        --config FILE --axis KEY=A,B [--axis ...]           infer with each combination of settings, and compare
convert     --source DIR --target DIR                           convert HDF5 samples to .npy files
synthesize  --folder DIR [--train N --validation N ...]         make samples in the real format
stage       --config FILE [key=value ...]                       copy each rank's share to data.stage_dir beforehand
export      RUN --to FILE.cpt [--step N]                        write a run's checkpoint for the reference program
download    URL --target-dir DIR                                fetch samples from a web server's list of files
split       --source DIR --target DIR                           divide files among train/, validation/, test/
summarize   DIR                                                 write DIR/stats.h5 from DIR/train

Under `horovodrun -np N`, train, stage, infer, convert and summarize run on N ranks. COMMAND --help says more.
"""

import argparse

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
from tf_deepcam import config as settings
from tf_deepcam.benchmark import BENCHMARK

# What a command needs is imported when it runs, so that a mistake on the command line is reported at once.


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _config_arguments(parser)
    training_arguments(parser)


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "deepcam")


def _train(options: argparse.Namespace) -> int:
    """Train. The exit code is 0 also if the target was not reached; the log and the report say so."""
    check_dry_run(options)
    config = settings.load(settings_file(options.config, options.resume), options.overrides)
    from tf_deepcam.batch_statistics import grouping

    placement = distributed.init(config.threads, grouping(config.training))
    from common.session import open_session, unrecorded
    from tf_deepcam.train import dry_run, train

    if options.dry_run:
        dry_run(config, unrecorded(placement))
        return 0
    with open_session("train", BENCHMARK, config, placement, options.resume) as session:
        train(config, session)
    return 0


def _stage(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    placement = distributed.init(config.threads, uses_gpu=False)
    from tf_deepcam.data.run_batches import stage

    return stage(config, placement.threads)


def _infer(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    at_once = min(config.inference.max_inter_threads, 2)
    placement = distributed.init(config.inference.max_intra_threads or config.threads, at_once=at_once)
    from common.session import open_session
    from tf_deepcam.infer import infer

    with open_session("infer", BENCHMARK, config, placement) as session:
        infer(config, session)
    return 0


def _grid_arguments(parser: argparse.ArgumentParser) -> None:
    _config_arguments(parser)
    grid_arguments(parser, "inference.max_inter_threads=1,2")


def _grid(options: argparse.Namespace) -> int:
    axes = parse_axes("--axis", options.axis, options.overrides)
    config = settings.load(options.config, options.overrides)
    check_combinations(axes, lambda chosen: settings.load(options.config, [*options.overrides, *chosen]))
    from common.measuring import grid

    fixed = ("inference.score=false", "inference.predictions=none", "inference.outputfile=''")
    return grid.main(grid.Program("tf_deepcam", fixed), config, axes, options)


def _synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--folder", metavar="DIR", help="where train/, validation/ and stats.h5 go; files there are kept")
    add("--train", type=whole_number(1), default=8, metavar="N", help="training samples to make, by default 8")
    add("--validation", type=whole_number(1), default=2, metavar="N", help="validation samples to make, by default 2")
    add("--height", type=whole_number(16, multiple_of=16), default=768, help="pixels from south to north")
    add("--width", type=whole_number(16, multiple_of=16), default=1152, help="pixels from west to east")
    add(
        "--events",
        type=_positive,
        default=1.0,
        metavar="FACTOR",
        help="factor on the number of cyclones and rivers for the area, by default 1; more for small tiles",
    )
    add("--seed", type=whole_number(0, 2**32 - 1), default=0, help="sample n depends only on (seed, n)")
    add("settings", nargs="*", help=argparse.SUPPRESS)  # key=value, to refuse it with a message


def _positive(text: str) -> float:
    factor = float(text)
    if not 0 < factor < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 (found: {text})")
    return factor


def _synthesize(options: argparse.Namespace) -> int:
    if options.settings or not options.folder:
        problem = f"synthesize takes no '{options.settings[0]}'" if options.settings else "--folder is missing"
        raise UserError(f"{problem}: {settings.SYNTHESIZE}")
    from tf_deepcam.tools import synthesize

    names = synthesize.Collection._fields
    return synthesize.main(synthesize.Collection(**{name: getattr(options, name) for name in names}))


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("--to", required=True, metavar="FILE", help="the .cpt to write; needs PyTorch")
    parser.add_argument(
        "--step", type=int, metavar="N", help="update of the checkpoint; default the newest epoch's end"
    )


def _export(options: argparse.Namespace) -> int:
    from tf_deepcam.tools import export

    return export.main(options.run, options.to, options.step)


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="address of the folder: a page that links to its files")
    parser.add_argument("--target-dir", required=True, metavar="DIR", help="where files go; those there are kept")
    parser.add_argument("--num-files", type=int, metavar="N", help="samples to fetch, first by name; default all")
    parser.add_argument("--num-streams", type=int, default=4, metavar="N", help="files at a time, at most 4")
    parser.add_argument("--force", action="store_true", help="allow more than 4 streams")


def _download(options: argparse.Namespace) -> int:
    from tf_deepcam.tools import download

    return download.main(options.url, options.target_dir, options.num_files, options.num_streams, options.force)


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="DIR", help="folder of data-*.h5")
    parser.add_argument("--target", required=True, metavar="DIR", help="where train/, validation/, test/ are made")
    parser.add_argument("--fractions", type=float, nargs=3, default=(0.8, 0.1, 0.1), metavar="SHARE")
    parser.add_argument("--seed", type=int, default=12345, help="12345 is the reference's")
    parser.add_argument("--how", choices=["symbolic", "hard", "copy"], default="symbolic", help="links or copies")


def _split(options: argparse.Namespace) -> int:
    from tf_deepcam.tools import split

    return split.main(options.source, options.target, tuple(options.fractions), options.seed, options.how)


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="DIR", help="folder of data-*.h5, at any depth")
    parser.add_argument("--target", required=True, metavar="DIR", help="where data-*.npy and label-*.npy are made")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="float16: normalised fields")


def _convert(options: argparse.Namespace) -> int:
    distributed.init(uses_gpu=False)
    from tf_deepcam.tools import convert

    return convert.main(options.source, options.target, options.dtype)


def _summarize(options: argparse.Namespace) -> int:
    distributed.init(uses_gpu=False)
    from tf_deepcam.tools import summarize

    return summarize.main(options.folder)


COMMANDS = {
    "train": Command(_train_arguments, _train),
    "infer": Command(_config_arguments, _infer),
    "grid": Command(_grid_arguments, _grid),
    "convert": Command(_convert_arguments, _convert),
    "synthesize": Command(_synthesize_arguments, _synthesize),
    "stage": Command(_config_arguments, _stage),
    "export": Command(_export_arguments, _export),
    "download": Command(_download_arguments, _download),
    "split": Command(_split_arguments, _split),
    "summarize": Command(
        lambda parser: parser.add_argument("folder", metavar="DIR", help="folder that holds train/"), _summarize
    ),
}


def main() -> None:
    """The console command; leaves the process."""
    run_commands("tf_deepcam", __doc__, COMMANDS)


if __name__ == "__main__":
    main()
