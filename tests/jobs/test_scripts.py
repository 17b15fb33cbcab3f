"""The job scripts' form, and common.launch, which fills them in; tests/cluster runs them."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.config import __main__ as config_commands
from common.errors import UserError
from common.launching import launch
from tests.helpers import ROOT, errors, run

SCRIPTS = sorted(path for ending in ("*.sh", "*.slurm", "*.lsf") for path in (ROOT / "jobs").rglob(ending))
SITES = launch.sites()
CONFIG = str(ROOT / "config" / "cloudmask" / "demo.yaml")

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


@pytest.mark.parametrize("name", SITES)
def test_every_site_s_script_is_short_and_says_what_it_is(name):
    text = SITES[name].script.read_text()
    assert len(text.splitlines()) < 60
    for head in ("# Machine:", "# Edit:", "# Expected:", "Source:"):
        assert head in text
    assert "# Submit:" in text or "# Run:" in text
    assert 'parse "$' in text
    assert re.search(r"^(run_until_warned|by_horovodrun|by_common_run|(\w+=\S+ )?launch)\b", text, re.MULTILINE)


def test_bsub_s_directives_are_documented_ones():
    lines = [
        line for line in (ROOT / "jobs" / "sites" / "summit.lsf").read_text().splitlines() if line.startswith("#BSUB")
    ]
    assert len(lines) > 5
    for line in lines:
        option, value = re.fullmatch(r"#BSUB -(\w+) (.+)", line).groups()
        assert re.fullmatch(BSUB[option], value), line


def test_every_site_is_known_by_its_script():
    assert SITES["perlmutter"] == launch.Site(launch.SITES_FOLDER / "perlmutter.slurm", 1792, 4, 128)
    assert SITES["workstation"] == launch.Site(launch.SITES_FOLDER / "workstation.sh", 1, 0, 0)


@pytest.mark.parametrize("name", SITES)
def test_every_site_s_ranks_fit_its_nodes(name):
    words = launch.command(SITES[name], launch.JobOptions(nodes=1), ["a.yaml", "x=a b"])
    assert words[-3:] == [f"jobs/sites/{SITES[name].script.name}", "a.yaml", "x=a b"]


def test_nodes_time_and_account_are_the_scheduler_s_own_options():
    asked = launch.JobOptions(16, "00:20:00", "m1234_g")
    words = launch.command(SITES["perlmutter"], asked, ["c.yaml"])
    assert words == [
        "sbatch",
        "--nodes=16",
        "--time=00:20:00",
        "--account=m1234_g",
        "jobs/sites/perlmutter.slurm",
        "c.yaml",
    ]
    asked = launch.JobOptions(3, "1:00", "X1")
    words = launch.command(SITES["summit"], asked, ["c.yaml"])
    assert words == ["bsub", "-nnodes", "3", "-W", "1:00", "-P", "X1", "jobs/sites/summit.lsf", "c.yaml"]
    assert launch.environment(SITES["summit"], asked) == {"NODES": "3"}


def test_what_does_not_fit_the_site_is_refused(tmp_path):
    with pytest.raises(UserError, match="--nodes 3: pearl has 1 to 2"):
        launch.command(SITES["pearl"], launch.JobOptions(nodes=3), ["c.yaml"])
    with pytest.raises(UserError, match="no scheduler runs it, so --time and --account have no meaning"):
        launch.command(SITES["workstation"], launch.JobOptions(account="x"), ["c.yaml"])
    script = SITES["perlmutter"].script
    with pytest.raises(UserError, match="4 ranks per node, but 2 GPUs"):
        launch.command(launch.Site(script, 10, 2, 128), launch.JobOptions(), ["c.yaml"])
    with pytest.raises(UserError, match="4 ranks x 32 cores do not fit 100 cores per node"):
        launch.command(launch.Site(script, 10, 4, 100), launch.JobOptions(), ["c.yaml"])
    (tmp_path / "new.slurm").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="has no line '# Shape: N nodes of G GPUs and C cores'"):
        launch.read_site(tmp_path / "new.slurm")


@pytest.mark.parametrize(
    ("name", "job", "message"),
    [
        ("pearl", launch.JobOptions(time="soon"), r"--time soon: pearl takes HH:MM:SS, minutes, or D-HH:MM:SS"),
        ("pearl", launch.JobOptions(time="1h"), r"--time 1h: pearl takes"),
        ("pearl", launch.JobOptions(time="1:2:3:4"), r"--time 1:2:3:4"),
        ("summit", launch.JobOptions(time="1:00:00"), r"--time 1:00:00: summit takes HH:MM, or minutes"),
        ("summit", launch.JobOptions(account="x y"), r"--account 'x y': one word"),
        ("pearl", launch.JobOptions(account="x --time=9"), r"--account 'x --time=9': one word"),
        ("pearl", launch.JobOptions(account="--wrap=reboot"), r"--account '--wrap=reboot': one word"),
        ("pearl", launch.JobOptions(account=""), r"--account '': one word"),
    ],
)
def test_times_and_accounts_that_the_scheduler_would_not_take(name, job, message):
    with pytest.raises(UserError, match=message):
        launch.command(SITES[name], job, ["c.yaml"])


@pytest.mark.parametrize("time", ["30", "1:30", "01:30:00", "2-12", "2-12:30:00"])
def test_times_that_slurm_takes(time):
    assert f"--time={time}" in launch.command(SITES["pearl"], launch.JobOptions(time=time), ["c.yaml"])


def test_variables_in_front_of_the_command_are_assignments_to_a_shell(tmp_path, monkeypatch, capsys):
    """In quotes as a whole, such a word is a program's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch.resources, "JOBS", Path("/opt/our software/jobs"))
    monkeypatch.setattr(sys, "argv", ["launch", "--site", "pearl", "--sweep", "training.seed=1,2", CONFIG])
    assert launch.main() == 0
    for line in capsys.readouterr().out.splitlines():
        shown = subprocess.run(
            ["bash", "-c", line.replace("sbatch", "printenv JOBS_FOLDER #", 1)], capture_output=True, text=True
        )
        assert shown.stdout == "/opt/our software/jobs\n"


def test_a_setting_given_twice_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch", "--site", "pearl", CONFIG, "training.seed=1", "training.seed=2"])
    with pytest.raises(UserError, match=r"'training\.seed' is given twice"):
        launch.main()


def config_command(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["common.config", *map(str, words)])
    return config_commands.main()


def test_a_recipe_of_another_command_is_run_by_it(monkeypatch, capsys):
    for name in ("infer", "demo"):
        assert config_command(monkeypatch, "program", ROOT / "config" / "deepcam" / f"{name}.yaml") == 0
    assert capsys.readouterr().out == "tf_deepcam infer\ntf_deepcam train\n"
    with pytest.raises(UserError, match="'study' belongs to the command `study`"):
        config_command(monkeypatch, "program", ROOT / "config" / "cloudmask" / "study_labels.yaml")


@pytest.mark.parametrize("command", ["show", "table", "schema", "program", "copy"])
def test_a_command_of_common_config_that_lacks_its_argument_says_which(monkeypatch, command):
    with pytest.raises(UserError, match=f"^{command}: give "):
        config_command(monkeypatch, command)


def test_a_network_that_is_not_there_is_refused_by_show(monkeypatch):
    with pytest.raises(UserError, match=r"'model\.network' should be 'reference', 'narrow' or 'pixel'.*: did you mean"):
        config_command(monkeypatch, "show", "cloudmask", "model.network=referense")
    with pytest.raises(UserError, match=r"override 'data\.train_dir=a\\nb': contains a line break"):
        config_command(monkeypatch, "show", "cloudmask", "data.train_dir=a\nb")
    for setting in ("output.folder=-runs", "output.run_name=-x"):
        with pytest.raises(UserError, match="must not begin with a dash"):
            config_command(monkeypatch, "show", "cloudmask", setting)


def test_the_command_checks_the_config_and_prints_what_submits_it():
    arguments = ("--site", "kestrel", "--nodes", 8, "config/deepcam/esif_baseline.yaml")
    output = run("-m", "common.launch", *arguments, "data.data_dir_prefix=/scratch/a b")
    assert output.returncode == 0, output.stdout
    script, config = "jobs/sites/kestrel.slurm", "config/deepcam/esif_baseline.yaml"
    assert output.stdout == f"sbatch --nodes=8 {script} {config} 'data.data_dir_prefix=/scratch/a b'\n"
    output = run("-m", "common.launch", *arguments, "training.max_epoch=3")
    assert output.returncode == 1
    assert "training.max_epoch" in errors(output.stdout)[0]


def test_a_sweep_is_one_line_for_each_combination_each_with_a_folder_of_its_own():
    swept = ("--sweep", "optimizer.start_lr=0.01,0.001", "--sweep", "schedule.milestones=[10,20],[30]")
    arguments = ("--site", "kestrel", *swept, "config/deepcam/esif_optimized.yaml", "training.seed=3")
    output = run("-m", "common.launch", *arguments)
    assert output.returncode == 0, output.stdout
    lines = [shlex.split(line) for line in output.stdout.splitlines()]
    assert [line[-2:] for line in lines] == [
        [f"optimizer.start_lr={rate}", f"schedule.milestones={steps}"]
        for rate in ("0.01", "0.001")
        for steps in ("[10,20]", "[30]")
    ]
    assert all(line[-3] == "training.seed=3" and line[1] == "sbatch" for line in lines)
    names = [line[0] for line in lines]
    assert len(set(names)) == 4
    assert re.fullmatch(r"RUN_NAME=sweep-\d{8}-\d{6}-start_lr=0.01-milestones=_10_20_", names[0])


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("optimizer.start_lr", "--sweep 'optimizer.start_lr': expected key=a,b"),
        ("optimizer.start_lr=", "expected key=a,b"),
        ("training.seed=1,1", "with values that differ"),
        ("training.seed=1,x", "training.seed"),
        ("training.sead=1,2", "training.sead"),
    ],
)
def test_a_sweep_with_a_mistake_submits_nothing(tmp_path, sweep, message):
    output = run("-m", "common.launch", "--site", "kestrel", "--sweep", sweep, "config/deepcam/esif_optimized.yaml")
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert message in line
    assert "sbatch" not in output.stdout


def test_a_submitted_sweep_stops_at_the_first_job_that_is_refused(tmp_path):
    (tmp_path / "sbatch").write_text('#!/bin/sh\necho "$RUN_NAME: $*"\ncase "$*" in *seed=2) exit 3 ;; esac\n')
    (tmp_path / "sbatch").chmod(0o755)
    arguments = (
        "--site",
        "kestrel",
        "--submit",
        "--sweep",
        "training.seed=1,2,3",
        "config/deepcam/esif_optimized.yaml",
    )
    output = run("-m", "common.launch", *arguments, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert output.returncode == 3
    assert output.stdout.count("training.seed=") == 2
    assert "seed=2: exit code 3; 1 of 3 submitted" in errors(output.stdout)[0]


def test_a_recipe_s_benchmark_is_said_in_it_not_guessed_from_its_path(tmp_path):
    recipe = tmp_path / "deepcam" / "mine.yaml"
    recipe.parent.mkdir()
    recipe.write_text("benchmark: cloudmask\n")
    assert run("-m", "common.config", "program", recipe).stdout == "cloudmask run\n"
    output = run("-m", "tf_deepcam", "train", "--config", recipe)
    assert errors(output.stdout) == [f"error: {recipe}:1: 'benchmark' should be 'deepcam' (found: 'cloudmask')"]
    recipe.write_text("training: {}\n")
    (line,) = errors(run("-m", "common.config", "program", recipe).stdout)
    assert "begin it with `benchmark: cloudmask | deepcam`" in line
    recipe.write_text("threads: 1\nbenchmark: deepcan\n")
    (line,) = errors(run("-m", "common.config", "program", recipe).stdout)
    assert f"{recipe}:2: there is no benchmark 'deepcan': did you mean 'deepcam'?" in line


@pytest.mark.slow  # also in tests/cluster
def test_a_workstation_runs_the_script_itself(tmp_path):
    arguments = ("--site", "workstation", "--submit", "config/deepcam/demo.yaml", "training.seed=2")
    folder = ["data.data_dir_prefix=/nowhere", f"output.folder={tmp_path}"]
    output = run("-m", "common.launch", *arguments, *folder, RANKS="1", FREE_KB="1000", GPUS="0")
    assert output.returncode == 1
    assert "/nowhere/train: no such folder" in output.stdout


@pytest.mark.parametrize(
    ("gpus", "visible", "ranks", "found"),
    [(0, None, 2, 0), (1, None, 1, 1), (8, None, 2, 8), (8, "3", 1, 1), (8, "", 2, 0), (4, "NoDevFiles", 2, 0)],
)
def test_the_demo_takes_as_many_ranks_as_gpus_two_at_most(tmp_path, gpus, visible, ranks, found):
    # An nvidia-smi that lists so many (none: it fails), and a python that says what it was called with.
    listed = "".join(f"echo 'GPU {number}: NVIDIA (UUID: GPU-{number})'\n" for number in range(gpus))
    programs = {"nvidia-smi": f"{listed}exit {int(not gpus)}", "python": 'echo "python $*"'}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})}
    done = subprocess.run(["bash", str(ROOT / "jobs" / "demo.sh")], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    starts = [line for line in done.stdout.splitlines() if "common.run" in line]
    assert [f"-m common.run -np {ranks} -- " in line for line in starts] == [True, True]
    assert (f"{found} GPUs are visible: using {ranks}, in float32." in done.stdout) is (found > 0)
    assert not (found and "bfloat16" in done.stdout)


def test_the_scaling_helper_submits_n_2n_and_4n_and_names_the_runs(tmp_path):
    (tmp_path / "sbatch").write_text('#!/bin/sh\necho "$RUN_NAME: $*"\n')
    (tmp_path / "sbatch").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "jobs" / "sites" / "kestrel_scaling.sh"), "config/deepcam/esif_optimized.yaml", "a.b=1"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "NODES": "2", "SBATCH_OPTIONS": "--account=x"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    arguments = f"--account=x {ROOT}/jobs/sites/kestrel.slurm config/deepcam/esif_optimized.yaml a.b=1"
    assert done.stdout.splitlines() == [
        f"scaling-{nodes}: --export=ALL --nodes={nodes} {arguments}" for nodes in (2, 4, 8)
    ]
