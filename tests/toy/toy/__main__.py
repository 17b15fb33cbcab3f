"""python -m toy train [--config FILE] [key=value ...]"""

import argparse

from toy import config as settings
from toy.benchmark import BENCHMARK

from common import distributed
from common.cli.program import Command, run_commands, settings_arguments, settings_file, training_arguments


def _arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "toy")
    training_arguments(parser)


def _train(options: argparse.Namespace) -> int:
    config = settings.load(settings_file(options.config, options.resume), options.overrides)
    placement = distributed.init()
    from toy.train import train

    from common.session import open_session

    with open_session("train", BENCHMARK, config, placement, options.resume) as session:
        train(config, session)
    return 0


COMMANDS = {"train": Command(_arguments, _train)}

if __name__ == "__main__":
    run_commands("toy", __doc__, COMMANDS)
