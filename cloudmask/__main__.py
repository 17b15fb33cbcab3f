"""The command line of CloudMask: python -m cloudmask COMMAND [--config FILE] [key=value ...]

run         train, mask the scenes of inference_dir, report (as the reference's main program does)
train       train only; the network is in the run folder
infer       mask scenes with a trained network
synthesize  make scenes in the real format and size

run and train take --resume [FOLDER]. Under `horovodrun -np N` they and infer run on N ranks. COMMAND --help says more.
"""

import argparse
from pathlib import Path

from cloudmask import config as settings
from common import distributed
from common.benchmarks import BENCHMARKS
from common.program import Command, resume_argument, run_commands, settings_arguments, settings_file

# What a command needs is imported when it runs: a wrong word on the command line is answered at once.


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    settings_arguments(parser, "cloudmask")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _config_arguments(parser)
    resume_argument(parser)


def _benchmark(options: argparse.Namespace) -> int:
    """Exit code 1 if any scene could not be masked."""
    resume = getattr(options, "resume", None)
    config = settings.load(settings_file(options.config, resume), options.overrides)
    placement = distributed.init(config.threads)
    from cloudmask import infer, train
    from common.runs.files import check_writable, deliver
    from common.session import open_session

    command, wanted = options.command, config.report
    files = [wanted.log_file, wanted.mlperf_logfile, wanted.model_file if command != "infer" else ""]
    distributed.on_root(lambda: check_writable(*(Path(name) for name in files if name)))
    failed, model_file = [], None
    with open_session(command, BENCHMARKS["cloudmask"], config, placement, resume) as session:
        if command in ("run", "train"):
            train.train(config, session)
            model_file = str(session.run / "model.keras")
        if command in ("run", "infer"):
            failed = infer.infer(config, session, model_file)["failed"]
        if wanted.mlperf_logfile and distributed.is_root():
            deliver(session.run / "mlperf.log", Path(wanted.mlperf_logfile))
    return int(bool(failed))


def _synthesize(options: argparse.Namespace) -> int:
    config = settings.load(options.config, options.overrides)
    from cloudmask.tools import synthesize

    return synthesize.main(config.synthesize, config.data)


COMMANDS = {
    "run": Command(_train_arguments, _benchmark),
    "train": Command(_train_arguments, _benchmark),
    "infer": Command(_config_arguments, _benchmark),
    "synthesize": Command(_config_arguments, _synthesize),
}

if __name__ == "__main__":
    run_commands("cloudmask", __doc__, COMMANDS)
