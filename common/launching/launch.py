"""Submit a run to a site: python -m common.launch --site NAME [--nodes N] CONFIG [key=value ...]

Checks CONFIG and the overrides, and the number of nodes against the site's shape, and prints the command that submits
the site's script (jobs/sites/), with nodes, time and account as the scheduler's own options; --submit runs it instead.
The job's folder is the current one: relative paths in CONFIG and the overrides start there, and so do the runs.
--sweep key=a,b makes one run for each value; given several times, one for each combination, in folders of their own.
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
from common.config.axes import combinations, names_of, parse_axes
from common.config.recipes import benchmark_of, settings_of
from common.errors import UserError

SITES_FOLDER = resources.JOBS / "sites"

_SHAPE = re.compile(r"^# Shape: +(\d+) nodes?(?: of (\d+) GPUs(?: and (\d+) cores)?)?$", re.MULTILINE)
# By the script's suffix: the program that submits it, and its options.
_SCHEDULERS = {
    ".slurm": (["sbatch"], {"nodes": "--nodes={}", "time": "--time={}", "account": "--account={}"}),
    ".lsf": (["bsub"], {"nodes": "-nnodes {}", "time": "-W {}", "account": "-P {}"}),
    ".sh": (["bash"], {}),
}
_DIRECTIVES = {
    ".slurm": re.compile(r"^#SBATCH --([a-z-]+)=(.*)$", re.MULTILINE),
    ".lsf": re.compile(r"^#BSUB -([A-Za-z_]+) (.*)$", re.MULTILINE),
}


# By the script's suffix: the form of a time limit, and that in words (sbatch's and bsub's manuals).
_TIMES = {
    ".slurm": (r"\d+(:\d\d?){0,2}|\d+-\d\d?(:\d\d?){0,2}", "HH:MM:SS, minutes, or D-HH:MM:SS"),
    ".lsf": (r"\d+(:\d\d?)?", "HH:MM, or minutes"),
}
_ACCOUNT = r"\w[\w.+-]*"


@dataclass(frozen=True)
class Site:
    """A machine's shape, read from the head of its script; 0 is unknown.

    Shapes come from public descriptions of the machines; they were not checked there.
    """

    script: Path
    nodes: int  # at most, in a job
    gpus: int  # per node
    cores: int  # per node, usable

    @property
    def name(self) -> str:
        return self.script.stem


def read_site(script: Path) -> Site:
    """Read a site's shape from its script. Raises UserError if there is no `# Shape:` line."""
    shape = _SHAPE.search(script.read_text(encoding="utf-8"))
    if shape is None:
        raise UserError(f"{script}: has no line '# Shape: N nodes of G GPUs and C cores'")
    return Site(script, *(int(number or 0) for number in shape.groups()))


def sites() -> dict[str, Site]:
    """Return {name: site} for every script in jobs/sites that has a shape."""
    scripts = sorted(path for path in SITES_FOLDER.iterdir() if path.suffix in _SCHEDULERS)
    with_shape = [path for path in scripts if _SHAPE.search(path.read_text(encoding="utf-8"))]
    return {path.stem: read_site(path) for path in with_shape}


def directives(script: Path) -> dict[str, str]:
    """Read {option: value} from a script's directive lines."""
    return dict(_DIRECTIVES[script.suffix].findall(script.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class JobOptions:
    """Options of the scheduler, from the command line; None leaves the script's own."""

    nodes: Optional[int] = None
    time: Optional[str] = None
    account: Optional[str] = None


def command(site: Site, job: JobOptions, arguments: list[str]) -> list[str]:
    """Return the command that submits the site's script, in words.

    Args:
        site: where to run.
        job: options for the scheduler.
        arguments: of the script.

    Raises:
        UserError: for options that the site or its script does not allow.
    """
    if job.nodes is not None and not 1 <= job.nodes <= site.nodes:
        raise UserError(f"--nodes {job.nodes}: {site.name} has 1 to {site.nodes}")
    program, formats = _SCHEDULERS[site.script.suffix]
    given = {name: value for name, value in vars(job).items() if value is not None}
    if site.script.suffix == ".sh" and given.keys() - {"nodes"}:
        raise UserError(f"{site.script.name}: no scheduler runs it, so --time and --account have no meaning")
    _check_words(site, job)
    _check_ranks(site)
    options = [part.format(given[name]) for name, text in formats.items() if name in given for part in text.split(" ")]
    return [*program, *options, str(_seen_from_here(site.script)), *arguments]


def _check_words(site: Site, job: JobOptions) -> None:
    """Raises UserError for a time or an account that the scheduler would not take, or not for what it is."""
    pattern, form = _TIMES.get(site.script.suffix, ("", ""))
    if job.time is not None and not re.fullmatch(pattern, job.time):
        raise UserError(f"--time {job.time}: {site.name} takes {form}")
    if job.account is not None and not re.fullmatch(_ACCOUNT, job.account):
        raise UserError(f"--account '{job.account}': one word of letters, digits and _ . + - expected")


def _seen_from_here(script: Path) -> Path:
    """Relative in the folder that holds jobs/, absolute elsewhere."""
    return script.relative_to(Path.cwd()) if _beside_jobs() else script


def _beside_jobs() -> bool:
    return Path.cwd() == resources.JOBS.parent


def environment(site: Site, job: JobOptions, run_name: str = "") -> dict[str, str]:
    """Return the environment variables that the script needs.

    LSF does not tell it the number of nodes. Schedulers run a copy of it, which has to be told where jobs/ is if it is
    submitted from another folder than the one that holds jobs/.

    Args:
        site: where to run.
        job: options for the scheduler.
        run_name: name of the run's folder; the job's number if empty.
    """
    folder = {} if _beside_jobs() or site.script.suffix == ".sh" else {"JOBS_FOLDER": str(resources.JOBS)}
    nodes = {"NODES": str(job.nodes)} if site.script.suffix == ".lsf" and job.nodes is not None else {}
    return {**folder, **nodes, **({"RUN_NAME": run_name} if run_name else {})}


class Combination(NamedTuple):
    """One run of a sweep."""

    run_name: str
    overrides: list[str]


def runs_of(sweeps: list[str], start: str, overrides: list[str]) -> list[Combination]:
    """Return a run for every combination of the sweeps' values, or one run without a name if there are no sweeps.

    Args:
        sweeps: values of --sweep, `key=a,b`.
        start: what the runs' names begin with.
        overrides: `key=value` texts of all runs.

    Raises:
        UserError: for a value of another form.
    """
    if not sweeps:
        return [Combination("", [])]
    all_overrides = combinations(parse_axes("--sweep", sweeps, overrides))
    names = names_of([start, *map(_last_word, chosen)] for chosen in all_overrides)
    return [Combination(name, list(chosen)) for name, chosen in zip(names, all_overrides)]


def _last_word(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _check_ranks(site: Site) -> None:
    """Raises UserError if the script's ranks per node need more GPUs or cores than a node has."""
    if site.script.suffix != ".slurm":
        return
    options = directives(site.script)
    ranks, cores = int(options.get("ntasks-per-node", 1)), int(options.get("cpus-per-task", 1))
    if site.cores and ranks * cores > site.cores:
        raise UserError(f"{site.script.name}: {ranks} ranks x {cores} cores do not fit {site.cores} cores per node")
    if site.gpus and ranks > site.gpus:
        raise UserError(f"{site.script.name}: {ranks} ranks per node, but {site.gpus} GPUs")


def _refuse_twice(overrides: list[str]) -> None:
    keys = [override.partition("=")[0].strip() for override in overrides]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UserError(f"'{twice}' is given twice, of which only the last would count: leave one out")


def submit(words: list[str], variables: dict[str, str]) -> int:
    """Run the command. Returns its exit code."""
    try:
        return subprocess.run(words, env={**os.environ, **variables}).returncode
    except FileNotFoundError:
        raise UserError(f"{words[0]}: no such program: --submit works on the site's login nodes only") from None


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        "python -m common.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", required=True, choices=sorted(sites()))
    parser.add_argument("--nodes", type=int, help="default: the script's")
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
    """Run the command `common.launch`. Returns the exit code."""
    options = parse(sys.argv[1:])
    site = sites()[options.site]
    job = JobOptions(options.nodes, options.time, options.account)
    runs = runs_of(options.sweep, time.strftime("sweep-%Y%m%d-%H%M%S"), options.overrides)
    _refuse_twice(options.overrides)
    # So that a typo costs seconds, not a place in the queue.
    settings = settings_of(benchmark_of(options.config))
    for run in runs:
        settings.load(options.config, [*options.overrides, *run.overrides, f"output.run_name={run.run_name}"])
    for number, run in enumerate(runs):
        words = command(site, job, [options.config, *options.overrides, *run.overrides])
        variables = environment(site, job, run.run_name)
        if not options.submit:
            # Of an assignment the value alone is quoted: in quotes as a whole it would be a program's name.
            print(" ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(words)]))
            continue
        code = submit(words, variables)
        if code:
            if len(runs) > 1:
                print(f"error: {run.run_name}: exit code {code}; {number} of {len(runs)} submitted", file=sys.stderr)
            return code
    return 0
