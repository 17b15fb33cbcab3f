"""The command: make scenes, do the runs, time the networks, print tables and draw."""

from pathlib import Path

from cloudmask.network import networks
from cloudmask.research.config import ResearchConfig
from cloudmask.research.study import figures, results, speed
from cloudmask.research.study.runs import make_scenes, run_steps
from common import distributed
from common.errors import UserError
from common.report.tables import markdown, show


def main(config: ResearchConfig) -> int:
    """All of a study; to be called again after it was stopped. Raises UserError if any run failed, when all is done."""
    for name in config.study.networks:
        networks.find(name)
    if not config.study.scenes_folder:
        raise UserError("study.scenes_folder is not set: say where the study's scenes go")
    folder = Path(config.output.folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    make_scenes(config)
    failed = run_steps(config)
    found = results.gather(config)
    if not found:
        raise UserError(f"{folder}: every run of the study failed; see {folder / 'logs'}")
    tables, pictures = [], []
    if len(config.study.losses) > 1 or len(config.study.label_errors) > 1:
        for value, title in (
            ("against_truth", "Accuracy against truth"),
            ("against_labels", "Accuracy against labels"),
        ):
            tables.append(results.losses_table(config, found, value, title))
        pictures.append(folder / "losses.png")
        figures.draw_losses(config, found, pictures[-1])
    if config.study.timings:
        distributed.init(config.threads, uses_gpu=True)
        costs = speed.measure(
            config.study.networks, config.study.precisions, config.study.timings, folder / "speed.json"
        )
        tables.append(results.networks_table(config, found, costs))
        pictures.append(folder / "networks.png")
        figures.draw_networks(config, found, costs, pictures[-1])
    show(*tables)
    (folder / "study.md").write_text("\n\n".join(map(markdown, tables)) + "\n", encoding="utf-8")
    print(f"written: {', '.join(map(str, [folder / 'study.md', *pictures]))}; the runs: {folder}")
    if failed:
        raise UserError(
            f"{len(failed)} runs failed, as said above: the same command tries them again ({failed[0]} ...)"
        )
    return 0
