"""What a folder of scenes and products holds, before anything is trained on or masked: a table, and what would be
refused and why."""

import argparse
import sys
import time
from collections import Counter
from typing import Optional

from rich.table import Table

from cloudmask import config
from cloudmask.config import DataSettings
from cloudmask.data.listing import list_all, newest, twins_of
from cloudmask.sen3 import names
from cloudmask.tools import words
from cloudmask.tools.facts import Facts, gather
from common.errors import UserError
from common.report.tables import show, table

_SHOWN_SECONDS = 10.0  # between two lines of progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="+",
        metavar="FOLDER | key=value",
        help="scenes and products, or folders of them at any depth; settings by which they are read, such as "
        "data.labels=summary",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file whose section data says how they are read")
    parser.add_argument(
        "--masking", action="store_true", help="for scenes to mask only: what could not be trained on is no fault"
    )


def main(options: argparse.Namespace) -> int:
    """Returns 1 if anything would be refused. Raises UserError where there is nothing to look at."""
    folders, overrides = words.sort(options.words)
    settings = config.load(options.config, overrides).data
    if not folders:
        raise UserError("say which folder to inspect")
    strays: list[str] = []
    files = [file for folder in folders for file in list_all(folder, print, strays.append)]
    for group in twins_of(files):
        for older in group[:-1]:
            print(f"{older.path}: left out: of the same acquisition as {group[-1].name}, which is newer")
    facts = _gather(newest(files, lambda line: None), settings)
    show(_table(facts), *_totals(facts))
    return _verdict(facts, strays, only_masking=options.masking)


def _gather(files: list, settings: DataSettings) -> list[Facts]:
    facts, shown = [], time.perf_counter()
    for number, file in enumerate(files, 1):
        facts.append(gather(file, settings))
        if time.perf_counter() - shown > _SHOWN_SECONDS:
            shown = time.perf_counter()
            print(f"  {number} of {len(files)} read", file=sys.stderr, flush=True)
    return facts


def _table(facts: list[Facts]) -> Table:
    heads = ("size", "without\nS7 to S9", "without\nS1 to S6", "labels", "cloud", "sun", "made by")
    built = table("Scenes and products", "scene", "form", *heads)
    for each in facts:
        built.add_row(
            _short(each),
            each.form,
            " x ".join(map(str, each.pixels)) or "refused",
            _percent(each.without_temperature),
            _percent(each.without_reflectance),
            each.labels or "-",
            _percent(each.cloud),
            ", ".join(f"{name} {share:.0%}" for name, share in each.sun.items() if share > 0) or "-",
            each.converter or (f"baseline {each.baseline:03d}" if each.baseline is not None else "-"),
        )
    return built


def _short(facts: Facts) -> str:
    """Platform and time of a scene named as products are, other names as they are."""
    acquisition = names.acquisition(facts.path)
    if acquisition is None:
        return names.stem(facts.path)
    return f"S3{acquisition.platform} {acquisition.start}"


def _percent(share: Optional[float]) -> str:
    return "-" if share is None else f"{share:.1%}"


def _totals(facts: list[Facts]) -> list[Table]:
    """How many there are of each kind."""
    platforms = Counter(
        f"Sentinel-3{platform}" if platform else "platform not in the name"
        for platform in (names.platform(each.path) for each in facts)
    )
    kinds = {
        "platform": platforms,
        "types": Counter(each.types for each in facts if each.types),
        "made by": Counter(each.converter for each in facts if each.converter),
    }
    built = table("All together", "what", "which", "how many", text=True)
    for what, counts in kinds.items():
        for which, count in counts.most_common():
            built.add_row(what, which, str(count))
    return [built]


def _verdict(facts: list[Facts], strays: list[str], *, only_masking: bool) -> int:
    """strays: why what is named like a scene is none."""
    for each in facts:
        if each.remark:
            print(f"{each.path}: {each.remark}")
    refused = strays + [each.refused for each in facts if each.refused]
    unlearnable = [] if only_masking else [each.unlearnable for each in facts if each.unlearnable]
    for line in refused:
        print(f"refused: {line}")
    for line in unlearnable:
        print(f"refused in training: {line}")
    scenes = len(facts) + len(strays)
    print(f"{scenes} scenes: {len(refused)} would be refused, and {len(unlearnable)} more in training alone")
    return 1 if refused or unlearnable else 0
