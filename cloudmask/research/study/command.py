"""The command `study`: make scenes, train, time the networks, print tables and draw."""

from pathlib import Path

from cloudmask.network import networks
from cloudmask.research.config import ResearchConfig
from cloudmask.research.study import figures, results, speed
from cloudmask.research.study.runs import make_scenes, run_steps
from common import distributed
from common.data.files import make_folder
from common.errors import UserError
from common.report.tables import markdown, show
from common.runs import locks
from common.runs.files import write_text


def main(config: ResearchConfig) -> int:
    """Do a whole study, or what is left of it.

    Returns:
        0, the exit code.

    Raises:
        UserError: if any run failed; the others are done and reported first.
    """
    for name in config.study.networks:
        networks.find(name)
    if not config.study.scenes_folder:
        raise UserError("study.scenes_folder is not set: give the folder for the study's scenes")
    folder = Path(config.output.folder).expanduser()
    make_folder(folder)
    with locks.lock(folder, file=".study.lock", busy="another study is running in this folder; wait for it"):
        return _study(config, folder)


def _study(config: ResearchConfig, folder: Path) -> int:
    make_scenes(config)
    failed = run_steps(config)
    outcomes = results.gather(config)
    if not outcomes:
        raise UserError(f"{folder}: every run of the study failed; see {folder / 'logs'}")
    tables, pictures = [], []
    if len(config.study.losses) > 1 or len(config.study.label_errors) > 1:
        for value, title in (
            ("against_truth", "Accuracy against truth"),
            ("against_labels", "Accuracy against labels"),
        ):
            tables.append(results.losses_table(config, outcomes, value, title))
        pictures.append(folder / "losses.png")
        figures.draw_losses(config, outcomes, pictures[-1])
    if config.study.timings:
        distributed.init(config.threads, uses_gpu=True)
        costs = speed.measure(
            config.study.networks, config.study.precisions, config.study.timings, folder / "speed.json"
        )
        tables.append(results.networks_table(config, outcomes, costs))
        pictures.append(folder / "networks.png")
        figures.draw_networks(config, outcomes, costs, pictures[-1])
    show(*tables)
    write_text(folder / "study.md", "\n\n".join(map(markdown, tables)) + "\n")
    print(f"written: {', '.join(map(str, [folder / 'study.md', *pictures]))}; the runs: {folder}")
    if failed:
        raise UserError(
            f"{len(failed)} runs failed, as reported above: the same command tries them again ({failed[0]} ...)"
        )
    return 0
