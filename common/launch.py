"""A site's job script with the values filled in: python -m common.launch --site NAME --nodes N CONFIG [key=value ...]

Prints the script (jobs/) with nodes, time and account in its directives and CONFIG and the overrides as its arguments,
after checking them against the site's shape; --submit hands it to the scheduler instead.
"""

import argparse
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common.config.__main__ import settings_of
from common.errors import UserError
from common.program import run_program

JOBS = Path(__file__).resolve().parents[1] / "jobs"


@dataclass(frozen=True)
class Site:
    """A machine's nodes, as far as a job can go wrong with them."""

    script: str
    nodes: int  # at most
    gpus: int  # a node
    cores: int  # a node, usable


# Shapes from public descriptions of the machines, not looked at there; jobs/README.md says what was run where.
SITES = {
    "workstation": Site("workstation.sh", 1, 0, 0),
    "dgx": Site("dgx.sh", 1, 8, 0),
    "summit": Site("summit.lsf", 4608, 6, 42),
    "rivanna": Site("rivanna.slurm", 18, 8, 128),
    "pearl": Site("pearl.slurm", 2, 16, 48),
    "perlmutter": Site("perlmutter.slurm", 1792, 4, 128),
    "cori_knl": Site("cori_knl.slurm", 9688, 0, 68),
    "kestrel": Site("kestrel.slurm", 132, 4, 128),
    "cirrus": Site("cirrus.slurm", 36, 4, 40),
    "archer2_cpu": Site("archer2_cpu.slurm", 5860, 0, 128),
}

# A scheduler's directive lines, and its names of what can be filled in.
_SCHEDULERS = {
    ".slurm": (
        re.compile(r"^#SBATCH --([a-z-]+)=(.*)$"),
        "#SBATCH --{}={}",
        {"nodes": "nodes", "time": "time", "account": "account"},
    ),
    ".lsf": (
        re.compile(r"^#BSUB -([A-Za-z_]+) (.*)$"),
        "#BSUB -{} {}",
        {"nodes": "nnodes", "time": "W", "account": "P"},
    ),
}


def directives(text: str, ending: str) -> dict:
    """{option: value} of a script's directive lines."""
    pattern = _SCHEDULERS[ending][0]
    return dict(found.groups() for found in map(pattern.match, text.splitlines()) if found)


def script(site: Site, values: dict, arguments: list) -> str:
    """The script with `values` (nodes, time, account; None leaves what it says) and its arguments filled in.

    Raises UserError for what does not fit the site.
    """
    path = JOBS / site.script
    text = path.read_text(encoding="utf-8")
    if values["nodes"] is not None and not 1 <= values["nodes"] <= site.nodes:
        raise UserError(f"--nodes {values['nodes']}: {path.stem} has 1 to {site.nodes}")
    lines = text.splitlines()
    if path.suffix in _SCHEDULERS:
        pattern, form, names = _SCHEDULERS[path.suffix]
        wanted = {names[key]: value for key, value in values.items() if value is not None}
        for place, line in enumerate(lines):
            found = pattern.match(line)
            if found and found[1] in wanted:
                lines[place] = form.format(found[1], wanted.pop(found[1]))
        if wanted:
            raise UserError(f"jobs/{site.script}: has no line for --{' or --'.join(wanted)}")
        _check_shape(site, directives("\n".join(lines), path.suffix))
    elif values["time"] or values["account"]:
        raise UserError(f"jobs/{site.script}: there is no scheduler to tell a time or an account")
    start = lines.index("set -euo pipefail")
    filled = [f"set -- {shlex.join(arguments)}"]
    if path.suffix == ".lsf" and values["nodes"] is not None:
        filled.append(f"export NODES={values['nodes']}")
    if path.suffix == ".sh":
        filled.append(f"cd {shlex.quote(str(JOBS))}")
    lines[start + 1 : start + 1] = filled
    text = "\n".join(lines) + "\n"
    return text.replace('cd "$(dirname "$0")/.."\n', "cd ..\n") if path.suffix == ".sh" else text


def _check_shape(site: Site, found: dict) -> None:
    """Ranks a node against GPUs and cores. Raises UserError."""
    if "ntasks-per-node" not in found:
        return
    ranks, cores = int(found["ntasks-per-node"]), int(found.get("cpus-per-task", 1))
    if ranks * cores > site.cores:
        raise UserError(f"jobs/{site.script}: {ranks} ranks x {cores} cores do not fit {site.cores} cores a node")
    if site.gpus and ranks > site.gpus:
        raise UserError(f"jobs/{site.script}: {ranks} ranks a node, but {site.gpus} GPUs")


def submit(site: Site, text: str) -> int:
    """Hand the script to the site's scheduler; workstations run it. Returns the exit code."""
    command = {".slurm": ["sbatch"], ".lsf": ["bsub"], ".sh": ["bash", "-s"]}[Path(site.script).suffix]
    try:
        return subprocess.run(command, input=text, text=True, cwd=JOBS.parent).returncode
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not to be found: --submit works on the site's login nodes only") from None


def parse(arguments: list) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m common.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", required=True, choices=sorted(SITES))
    parser.add_argument("--nodes", type=int, help="default: what the script says")
    parser.add_argument("--time", metavar="HH:MM:SS", help="time limit; HH:MM for LSF")
    parser.add_argument("--account")
    parser.add_argument("--submit", action="store_true", help="hand it to sbatch or bsub instead of printing it")
    parser.add_argument("config", help="YAML file, such as config/deepcam/nersc10.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    site = SITES[options.site]
    values = {"nodes": options.nodes, "time": options.time, "account": options.account}
    package = "tf_deepcam" if "deepcam" in options.config else "cloudmask"  # as jobs/common.sh tells them apart
    settings_of(package).load(options.config, options.overrides)  # a typo costs seconds, not a place in the queue
    text = script(site, values, [options.config, *options.overrides])
    if not options.submit:
        print(text, end="")
        return 0
    return submit(site, text)


if __name__ == "__main__":
    run_program(main)
