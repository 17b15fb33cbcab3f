"""The command line: python -m tf_deepcam COMMAND ...

train       --config FILE [--resume [FOLDER]] [key=value ...]   train to the target IoU or max_epochs
infer       --config FILE [key=value ...]                       the inference benchmark
grid        --config FILE [key=value ...]                       infer over lists of threads, batch sizes, precisions
convert     --source DIR --target DIR                           HDF5 samples to .npy files
synthesize  --config FILE [key=value ...]                       make samples in the real format
stage       --config FILE [key=value ...]                       copy each rank's share to data.stage_dir beforehand
download    URL --target-dir DIR                                fetch samples from a web server's list of files
split       --source DIR --target DIR                           share files out to train/, validation/, test/
summarize   DIR                                                 write DIR/stats.h5 from DIR/train

Under `horovodrun -np N`, train, stage, infer, convert and summarize run on N ranks.
"""

import argparse
import sys

from common import distributed
from common.program import run_program
from common.runs.folder import settings_file
from tf_deepcam import config as settings


def parse(arguments: list) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tf_deepcam", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "stage", "infer", "grid", "synthesize"):
        command = commands.add_parser(name)
        command.add_argument("--config", help="YAML file; `python -m common.config show tf_deepcam` lists all settings")
        command.add_argument("overrides", nargs="*", metavar="key=value", help="such as training.max_epochs=16")
        if name == "train":
            command.add_argument(
                "--resume",
                nargs="?",
                const="auto",
                metavar="FOLDER",
                help="go on with a run from its newest checkpoint: its folder, or the newest run if none is given",
            )
    command = commands.add_parser("download")
    command.add_argument("url", help="address of the folder, a page that links to its files")
    command.add_argument("--target-dir", required=True, metavar="DIR", help="where files go; those there are kept")
    command.add_argument("--num-files", type=int, metavar="N", help="samples to fetch, first by name; default all")
    command.add_argument("--num-streams", type=int, default=4, metavar="N", help="files at a time, 4 at most")
    command.add_argument("--force", action="store_true", help="allow more than 4 streams")
    command = commands.add_parser("split")
    command.add_argument("--source", required=True, metavar="DIR", help="folder of data-*.h5")
    command.add_argument("--target", required=True, metavar="DIR", help="where train/, validation/, test/ are made")
    command.add_argument("--fractions", type=float, nargs=3, default=(0.8, 0.1, 0.1), metavar="SHARE")
    command.add_argument("--seed", type=int, default=12345, help="12345 is the reference's")
    command.add_argument("--how", choices=["symbolic", "hard", "copy"], default="symbolic", help="links or copies")
    command = commands.add_parser("convert")
    command.add_argument("--source", required=True, metavar="DIR", help="folder of data-*.h5, at any depth")
    command.add_argument("--target", required=True, metavar="DIR", help="where data-*.npy and label-*.npy are made")
    command.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="float16 is normalised")
    command = commands.add_parser("summarize")
    command.add_argument("folder", metavar="DIR", help="folder that holds train/")
    return parser.parse_args(arguments)


def load_config(options: argparse.Namespace) -> settings.Config:
    """The settings asked for; a resumed run's own if no file is named."""
    return settings.load(settings_file(options.config, getattr(options, "resume", None)), options.overrides)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.command == "download":
        from tf_deepcam.tools import download

        return download.main(options.url, options.target_dir, options.num_files, options.num_streams, options.force)
    if options.command == "split":
        from tf_deepcam.tools import split

        return split.main(options.source, options.target, tuple(options.fractions), options.seed, options.how)
    if options.command == "summarize":
        distributed.init()
        from tf_deepcam.tools import summarize

        return summarize.main(options.folder)
    if options.command == "convert":
        distributed.init()
        from tf_deepcam.tools import convert

        return convert.main(options.source, options.target, options.dtype)
    config = load_config(options)
    if options.command == "grid":
        from tf_deepcam.tools import grid

        return grid.main(config, options.config, options.overrides)
    if options.command == "synthesize":
        from tf_deepcam.tools import synthesize

        return synthesize.main(config.synthesize)
    if options.command == "infer":
        placement = distributed.init(config.inference.max_intra_threads or config.threads)
        from tf_deepcam import infer

        return infer.run(config, placement)
    placement = distributed.init(config.threads, config.training.batchnorm_group_size)
    from tf_deepcam import benchmark, train

    if options.command == "stage":
        return train.stage(config, placement.threads)
    return benchmark.run(config, options.resume, placement)


if __name__ == "__main__":
    run_program(main)
