"""MLPerf's results folder, laid out from runs, and what mlperf-logging's own checkers say about it.

    ORGANISATION/systems/PLATFORM.json                            the machine, as the runs' environment.jsonl knows it
    ORGANISATION/results/PLATFORM/strong/BENCHMARK/result_N.txt  runs one after the other; weak/ holds instances
    ORGANISATION/benchmarks/BENCHMARK/implementations/tensorflow/ how to run it: settings, command line, commit

Source: MLPerf's submission rules, as mlperf_logging's package_checker, rcp_checker and result_summarizer read them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.report.compliance import ruleset_of
from common.report.logs import RunLog
from common.report.throughput import is_instance
from common.runs.files import check_writable, whole
from common.runs.records import read_lines

_NO_FAULTS = "PACKAGE CHECKER FOUND NO ERRORS"  # its own words
# What mlperf_logging.system_desc_checker wants of a system, besides what is known of it.
_ASKED = (
    "host_processor_vcpu_count",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "host_storage_type",
    "host_storage_capacity",
    "host_networking",
    "host_networking_topology",
    "host_memory_configuration",
    "accelerator_host_interconnect",
    "accelerator_frequency",
    "accelerator_on-chip_memories",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "accelerator_interconnect",
    "accelerator_interconnect_topology",
    "cooling",
    "hw_notes",
    "other_software_stack",
    "sw_notes",
)


class Package(NamedTuple):
    """folder: what the checkers take. asked: what of the system has to be filled in by hand. results: folders."""

    folder: Path
    asked: list[str]
    results: list[Path]
    ruleset: str

    def moved(self, old: Path, new: Path) -> "Package":
        """The same after the folder `old` above it became `new`."""
        results = [new / path.relative_to(old) for path in self.results]
        return self._replace(folder=new / self.folder.relative_to(old), results=results)


def lay_out(runs: list[RunLog], target: Path) -> list[Package]:
    """A package for each organisation. Raises UserError if MLPerf has no rules for a run, a file holds several runs, or
    `target` exists."""
    for run in runs:
        if run.benchmark is None or not run.benchmark.ruleset:
            raise UserError(f"{run.path}: MLPerf has no rules for {run.value('submission_benchmark')}: leave it out")
    if len({run.path for run in runs}) < len(runs):
        raise UserError("a file holds several runs, a result has to be a file of its own: leave it out")
    systems = defaultdict(list)
    for run in runs:
        systems[_name(run, "submission_org"), _name(run, "submission_platform")].append(run)
    check_target(target)
    with whole(target) as folder:
        packages = [_lay_out_system(folder / name[0], name[1], own) for name, own in systems.items()]
    return [package.moved(folder, target) for package in packages]


def check_target(target: Path) -> None:
    """Raise UserError unless a package can be laid out in a new folder."""
    if os.path.lexists(target):
        raise UserError(f"{target}: exists; choose another --package")
    check_writable(target)


def _name(run: RunLog, key: str) -> str:
    """A value as the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", str(run.value(key))).strip("._") or "unnamed"


def _lay_out_system(folder: Path, system: str, runs: list[RunLog]) -> Package:
    environment = next((found for found in map(_environment, runs) if found), {})
    described = _system(runs[0], environment)
    (folder / "systems").mkdir(parents=True, exist_ok=True)
    (folder / "systems" / f"{system}.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    results: dict[Path, int] = defaultdict(int)
    for run in runs:
        assert run.benchmark is not None
        kind = "weak" if is_instance(run) else "strong"
        place = folder / "results" / system / kind / run.benchmark.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.path, place / f"result_{results[place]}.txt")
        results[place] += 1
        _say_how(folder / "benchmarks" / run.benchmark.name / "implementations" / "tensorflow", run)
    return Package(folder, [key for key, value in described.items() if value == ""], list(results), ruleset_of(runs[0]))


def _environment(run: RunLog) -> dict:
    """Of a run folder's first start; empty for a log alone."""
    starts = read_lines(run.path.with_name("environment.jsonl")) if run.path.name == "mlperf.log" else []
    return starts[0] if starts else {}


def _system(run: RunLog, environment: dict) -> dict:
    packages = environment.get("packages", {})
    gpus = environment.get("gpus") or []
    known = {
        "submitter": run.value("submission_org"),
        "division": run.value("submission_division"),
        "status": run.value("submission_status"),
        "system_name": run.value("submission_platform"),
        "number_of_nodes": run.nodes,
        "accelerators_per_node": run.value("accelerators_per_node"),
        "host_processor_model_name": environment.get("processor", ""),
        "host_processors_per_node": environment.get("sockets", ""),
        "host_processor_core_count": environment.get("cores", ""),
        "host_memory_capacity": f"{environment['memory_gib']} GiB" if "memory_gib" in environment else "",
        "accelerator_model_name": gpus[0] if gpus else "none" if environment else "",
        "framework": _framework(packages),
        "operating_system": environment.get("operating_system", ""),
    }
    # All as text: the checkers join them.
    return {name: str(value) for name, value in {**known, **dict.fromkeys(_ASKED, "")}.items()}


def _framework(packages: dict) -> str:
    names = {"tensorflow": "TensorFlow", "horovod": "Horovod"}
    return ", ".join(f"{title} {packages[name]}" for name, title in names.items() if name in packages)


def _say_how(folder: Path, run: RunLog) -> None:
    """What repeats a run: its settings and, in README.md, its command line and the code's commit."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    environment = _environment(run)
    settings = run.path.with_name("config.yaml")
    if settings.is_file() and environment:
        shutil.copyfile(settings, folder / "config.yaml")
        words = " ".join(map(str, environment.get("command_line", [])))
        (folder / "README.md").write_text(
            f"# How these results were made\n\nCommit {environment.get('commit') or 'not known'} of the program, "
            f"settings in config.yaml (the seed is each result's own), started with\n\n    {words}\n",
            encoding="utf-8",
        )


def verdicts(package: Package) -> list[str]:
    """What mlperf_logging's package checker, its check of convergence points and its summary print, line by line."""
    place = str(package.folder.resolve())
    said = _checker("package_checker", place, "hpc", package.ruleset)
    for results in package.results:
        where = str(results.resolve())
        said += _checker("rcp_checker", where, "--rcp_usage", "hpc", "--rcp_version", package.ruleset)
    if "host_processors_per_node" in package.asked:
        return [*said, "result_summarizer was not run: it counts host_processors_per_node, which is not known"]
    return said + _checker("result_summarizer", place, "hpc", package.ruleset, "--csv", "summary.csv")


def _checker(program: str, *words: str) -> list[str]:
    summary = ""  # which the summariser writes, but does not print
    with tempfile.TemporaryDirectory() as folder:  # the checkers write logs where they are
        done = subprocess.run(
            [sys.executable, "-m", f"mlperf_logging.{program}", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if (Path(folder) / "summary.csv").is_file():
            summary = (Path(folder) / "summary.csv").read_text(encoding="utf-8")
    lines = [line.rstrip() for line in (done.stdout + summary).splitlines() if line.strip()]
    return [f"$ python -m mlperf_logging.{program} {' '.join(words)}", *lines, _ending(program, lines, done.returncode)]


def _ending(program: str, lines: list[str], code: int) -> str:
    """How a checker ended. The package checker exits with 0 whatever it has found (mlperf-logging 4.1.68)."""
    if program == "package_checker" and not any(_NO_FAULTS in line for line in lines):
        return f"package_checker found faults, as its output says (exit code {code})"
    return f"exit code {code}"
