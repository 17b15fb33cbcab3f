"""A run on a site by its job script: python -m common.launch --site NAME [--nodes N] CONFIG [key=value ...]

Checks CONFIG and the overrides, and the number of nodes against the site's shape, and prints the command that submits
the site's script (jobs/sites/), with nodes, time and account as the scheduler's own options; --submit runs it instead.
The job's folder is the current one: relative paths in CONFIG and the overrides start there, and so do the runs.
--sweep key=a,b is one run for each value, and given several times one for each combination, in folders of their own.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from common import resources
from common.cli.program import Parser
from common.config.axes import combinations, name_of, parse_axes
from common.config.recipes import benchmark_of, settings_of
from common.errors import UserError

SITES_FOLDER = resources.JOBS / "sites"

_SHAPE = re.compile(r"^# Shape: +(\d+) nodes?(?: of (\d+) GPUs(?: and (\d+) cores)?)?$", re.MULTILINE)
# By the script's ending: the program that submits it, and its names of what can be asked for.
_SCHEDULERS = {
    ".slurm": (["sbatch"], {"nodes": "--nodes={}", "time": "--time={}", "account": "--account={}"}),
    ".lsf": (["bsub"], {"nodes": "-nnodes {}", "time": "-W {}", "account": "-P {}"}),
    ".sh": (["bash"], {}),
}
_DIRECTIVES = {
    ".slurm": re.compile(r"^#SBATCH --([a-z-]+)=(.*)$", re.MULTILINE),
    ".lsf": re.compile(r"^#BSUB -([A-Za-z_]+) (.*)$", re.MULTILINE),
}


@dataclass(frozen=True)
class Site:
    """A machine's nodes, as far as a job can go wrong with them, as its script's head says. 0: not known.

    Shapes are from public descriptions of the machines, not looked at there.
    """

    script: Path
    nodes: int  # at most
    gpus: int  # per node
    cores: int  # per node, usable

    @property
    def name(self) -> str:
        return self.script.stem


def read_site(script: Path) -> Site:
    """Raises UserError for a script whose head has no `# Shape:` line."""
    found = _SHAPE.search(script.read_text(encoding="utf-8"))
    if found is None:
        raise UserError(f"{script}: has no line '# Shape: N nodes of G GPUs and C cores'")
    return Site(script, *(int(number or 0) for number in found.groups()))


def sites() -> dict[str, Site]:
    """Every script in jobs/sites that has a shape, by its name."""
    scripts = sorted(path for path in SITES_FOLDER.iterdir() if path.suffix in _SCHEDULERS)
    with_shape = [path for path in scripts if _SHAPE.search(path.read_text(encoding="utf-8"))]
    return {path.stem: read_site(path) for path in with_shape}


def directives(script: Path) -> dict[str, str]:
    """{option: value} of a script's directive lines."""
    return dict(_DIRECTIVES[script.suffix].findall(script.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Asked:
    """None leaves what the script says."""

    nodes: Optional[int] = None
    time: Optional[str] = None
    account: Optional[str] = None


def command(site: Site, asked: Asked, arguments: list[str]) -> list[str]:
    """The words that submit the site's script with these arguments. Raises UserError for what does not fit the site."""
    if asked.nodes is not None and not 1 <= asked.nodes <= site.nodes:
        raise UserError(f"--nodes {asked.nodes}: {site.name} has 1 to {site.nodes}")
    program, names = _SCHEDULERS[site.script.suffix]
    given = {name: value for name, value in vars(asked).items() if value is not None}
    if site.script.suffix == ".sh" and given.keys() - {"nodes"}:
        raise UserError(f"{site.script.name}: there is no scheduler to tell a time or an account")
    _check_ranks(site)
    options = [word for name, form in names.items() if name in given for word in form.format(given[name]).split(" ", 1)]
    return [*program, *options, str(_seen_from_here(site.script)), *arguments]


def _seen_from_here(script: Path) -> Path:
    """Relative in the folder that holds jobs/, absolute elsewhere."""
    return script.relative_to(Path.cwd()) if _beside_jobs() else script


def _beside_jobs() -> bool:
    return Path.cwd() == resources.JOBS.parent


def environment(site: Site, asked: Asked, run_name: str = "") -> dict[str, str]:
    """Variables that the script needs besides.

    LSF does not tell it its number of nodes. Schedulers run a copy of it, which has to be told where jobs/ is if it is
    submitted from elsewhere than the folder that holds jobs/.

    Args:
        site: whose script it is.
        asked: what was asked for.
        run_name: of the run's folder, which is the job's number without it.
    """
    folder = {} if _beside_jobs() or site.script.suffix == ".sh" else {"JOBS_FOLDER": str(resources.JOBS)}
    nodes = {"NODES": str(asked.nodes)} if site.script.suffix == ".lsf" and asked.nodes is not None else {}
    return {**folder, **nodes, **({"RUN_NAME": run_name} if run_name else {})}


class Combination(NamedTuple):
    """One run of a sweep."""

    run_name: str
    overrides: list[str]


def runs_of(sweeps: list[str], start: str, overrides: list[str]) -> list[Combination]:
    """Return a run for every combination of `key=a,b` texts, one nameless run without any.

    Args:
        sweeps: texts of --sweep.
        start: what the runs' names begin with.
        overrides: `key=value` texts of all runs.

    Raises:
        UserError: for a text of another form.
    """
    if not sweeps:
        return [Combination("", [])]
    every = combinations(parse_axes("--sweep", sweeps, overrides))
    return [Combination(name_of([start, *map(_last_word, chosen)]), list(chosen)) for chosen in every]


def _last_word(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _check_ranks(site: Site) -> None:
    """Ranks per node against GPUs and cores. Raises UserError."""
    if site.script.suffix != ".slurm":
        return
    options = directives(site.script)
    ranks, cores = int(options.get("ntasks-per-node", 1)), int(options.get("cpus-per-task", 1))
    if site.cores and ranks * cores > site.cores:
        raise UserError(f"{site.script.name}: {ranks} ranks x {cores} cores do not fit {site.cores} cores per node")
    if site.gpus and ranks > site.gpus:
        raise UserError(f"{site.script.name}: {ranks} ranks per node, but {site.gpus} GPUs")


def submit(words: list[str], variables: dict[str, str]) -> int:
    """Run the command. Returns its exit code."""
    try:
        return subprocess.run(words, env={**os.environ, **variables}).returncode
    except FileNotFoundError:
        raise UserError(f"{words[0]} is not to be found: --submit works on the site's login nodes only") from None


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        "python -m common.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", required=True, choices=sorted(sites()))
    parser.add_argument("--nodes", type=int, help="default: what the script says")
    parser.add_argument("--time", metavar="HH:MM:SS", help="time limit; HH:MM for LSF")
    parser.add_argument("--account")
    parser.add_argument("--sweep", action="append", default=[], metavar="KEY=A,B", help="one run for each value")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--submit", action="store_true", help="run the command instead of printing it")
    how.add_argument("--dry-run", action="store_true", help="print it, as without --submit")
    parser.add_argument("config", help="YAML file: a recipe of a benchmark")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    site = sites()[options.site]
    asked = Asked(options.nodes, options.time, options.account)
    runs = runs_of(options.sweep, time.strftime("sweep-%Y%m%d-%H%M%S"), options.overrides)
    # A typo costs seconds, not a place in the queue.
    settings = settings_of(benchmark_of(options.config))
    for run in runs:
        settings.load(options.config, [*options.overrides, *run.overrides, f"output.run_name={run.run_name}"])
    for number, run in enumerate(runs):
        words = command(site, asked, [options.config, *options.overrides, *run.overrides])
        variables = environment(site, asked, run.run_name)
        if not options.submit:
            print(shlex.join([*(f"{name}={value}" for name, value in variables.items()), *words]))
            continue
        code = submit(words, variables)
        if code:
            if len(runs) > 1:
                print(f"error: {run.run_name}: exit code {code}; {number} of {len(runs)} went before", file=sys.stderr)
            return code
    return 0
