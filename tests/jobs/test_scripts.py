"""The job scripts' form, and common.launch, which fills them in; tests/cluster runs them."""

import re
import shutil
import subprocess

import pytest

from common import launch
from common.errors import UserError
from tests.helpers import ROOT, errors, run

SCRIPTS = sorted(path for ending in ("*.sh", "*.slurm", "*.lsf") for path in (ROOT / "jobs").glob(ending))
SITES = [ROOT / "jobs" / site.script for site in launch.SITES.values()]

# What bsub documents, with what its value looks like.
BSUB = {
    "J": r"\w+",
    "P": r"\w+",
    "nnodes": r"\d+",
    "W": r"\d+:\d\d",
    "alloc_flags": r"(smt[124]|nvme|gpumps|maximizegpfs)( \w+)*",
    "wa": r"(USR1|USR2|TERM|INT)",
    "wt": r"\d+(:\d\d)?",
    "o": r"\S+",
    "e": r"\S+",
}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    # SC1091: the virtual environment and the site's modules are not here to be followed.
    done = subprocess.run(
        ["shellcheck", "-x", "-e", "SC1091", *map(str, SCRIPTS)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.name)
def test_every_site_s_script_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert len(text.splitlines()) < 60
    for head in ("# Machine:", "# Edit:", "# Expected:", "Source:"):
        assert head in text
    assert "# Submit:" in text or "# Run:" in text
    assert 'parse "$' in text
    assert "run_until_warned" in text


def test_bsub_s_directives_are_documented_ones():
    lines = [line for line in (ROOT / "jobs" / "summit.lsf").read_text().splitlines() if line.startswith("#BSUB")]
    assert len(lines) > 5
    for line in lines:
        option, value = re.fullmatch(r"#BSUB -(\w+) (.+)", line).groups()
        assert re.fullmatch(BSUB[option], value), line


@pytest.mark.parametrize("name", launch.SITES)
def test_every_site_can_be_filled_in_and_is_a_script(name):
    site = launch.SITES[name]
    values = {"nodes": 1, "time": None, "account": None}
    text = launch.script(site, values, ["config/deepcam/demo.yaml", "data.data_dir_prefix=a b"])
    assert "\nset -- config/deepcam/demo.yaml 'data.data_dir_prefix=a b'\n" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_nodes_time_and_account_stand_in_the_directives():
    values = {"nodes": 16, "time": "00:20:00", "account": "m1234_g"}
    text = launch.script(launch.SITES["perlmutter"], values, ["c.yaml"])
    found = launch.directives(text, ".slurm")
    assert (found["nodes"], found["time"], found["account"]) == ("16", "00:20:00", "m1234_g")
    text = launch.script(launch.SITES["summit"], {"nodes": 3, "time": "1:00", "account": "X1"}, ["c.yaml"])
    found = launch.directives(text, ".lsf")
    assert (found["nnodes"], found["W"], found["P"]) == ("3", "1:00", "X1")
    assert "export NODES=3" in text


def test_what_does_not_fit_the_site_is_refused():
    none = {"nodes": None, "time": None, "account": None}
    with pytest.raises(UserError, match="--nodes 3: pearl has 1 to 2"):
        launch.script(launch.SITES["pearl"], {**none, "nodes": 3}, ["c.yaml"])
    with pytest.raises(UserError, match="has no line for --account"):
        launch.script(launch.SITES["pearl"], {**none, "account": "x"}, ["c.yaml"])
    small = launch.Site("perlmutter.slurm", 10, 2, 128)
    with pytest.raises(UserError, match="4 ranks a node, but 2 GPUs"):
        launch.script(small, none, ["c.yaml"])
    with pytest.raises(UserError, match="4 ranks x 32 cores do not fit 100 cores a node"):
        launch.script(launch.Site("perlmutter.slurm", 10, 4, 100), none, ["c.yaml"])


def test_the_command_checks_the_config_and_prints_the_script():
    arguments = ("--site", "kestrel", "--nodes", 8, "config/deepcam/esif_baseline.yaml")
    output = run("-m", "common.launch", *arguments, "data.data_dir_prefix=/scratch/deepcam")
    assert output.returncode == 0, output.stdout
    assert "#SBATCH --nodes=8\n" in output.stdout
    output = run("-m", "common.launch", *arguments, "training.max_epoch=3")
    assert output.returncode == 1
    assert "training.max_epoch" in errors(output.stdout)[0]


def test_a_workstation_runs_the_script_itself(tmp_path):
    arguments = ("--site", "workstation", "--submit", "config/deepcam/demo.yaml", "synthesize.train=2")
    folder = ["data.data_dir_prefix=/nowhere", f"output.folder={tmp_path}"]
    output = run("-m", "common.launch", *arguments, *folder, RANKS="1", FREE_KB="1000", GPUS="0")
    assert output.returncode == 1
    assert "/nowhere/train: no such folder" in output.stdout


def test_the_scaling_helper_submits_n_2n_and_4n_and_names_the_runs(tmp_path):
    (tmp_path / "sbatch").write_text('#!/bin/sh\necho "$RUN_NAME: $*"\n')
    (tmp_path / "sbatch").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "jobs" / "kestrel_scaling.sh"), "config/deepcam/esif_optimized.yaml", "a.b=1"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "NODES": "2", "SBATCH_OPTIONS": "--account=x"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    arguments = "--account=x jobs/kestrel.slurm config/deepcam/esif_optimized.yaml a.b=1"
    assert done.stdout.splitlines() == [
        f"scaling-{nodes}: --export=ALL --nodes={nodes} {arguments}" for nodes in (2, 4, 8)
    ]
