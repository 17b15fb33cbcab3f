"""The command line: python -m cloudmask run|train|infer|synthesize --config FILE [key=value ...]

run         train, mask the scenes of inference_dir, report (as the reference's main program does)
train       train only; the network is in the run folder
infer       mask scenes with a trained network
synthesize  make scenes in the real format and size

Under `horovodrun -np N` it runs on N ranks, alone on one.
"""

import argparse
import sys

from cloudmask import config as settings
from common import distributed
from common.program import run_program
from common.runs.folder import settings_file


def parse(arguments: list) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m cloudmask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "train", "infer", "synthesize"])
    parser.add_argument(
        "--config", help="YAML file, ours or the reference program's; `python -m common.config show cloudmask`"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="FOLDER",
        help="go on with a run from its newest checkpoint: its folder, or the newest run if none is given",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as training.epochs=3")
    return parser.parse_intermixed_args(arguments)


def load_config(options: argparse.Namespace) -> settings.Config:
    """The settings asked for; a resumed run's own if no file is named."""
    return settings.load(settings_file(options.config, options.resume), options.overrides)


def main() -> int:
    options = parse(sys.argv[1:])
    config = load_config(options)
    if options.command == "synthesize":
        from cloudmask.tools import synthesize

        return synthesize.main(config.synthesize, config.data)
    placement = distributed.init(config.threads)
    from cloudmask import benchmark

    return benchmark.run(options.command, config, options.resume, placement)


if __name__ == "__main__":
    run_program(main)
