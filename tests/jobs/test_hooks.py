"""What SITE_MODULES, CONTAINER, MPI, LAUNCHER and INTERFACE make of a site's script, with stand-ins for programs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from common.launching import launch
from tests.helpers import ROOT

CONFIG = "config/cloudmask/demo.yaml"
TOOLS = ("bash", "df", "env", "grep", "id", "mkdir", "rm", "sed", "sort", "tail", "timeout", "tr", "wc")
# `python -m common.config program` answers; all else says what it was called with. MEETS=: two ranks do not meet.
PYTHON = """case "$*" in
    *"common.config program"*) echo cloudmask run ;;
    *"common.config show"*) ;;
    -c*)
        [ "${MEETS-yes}" = yes ] && exit
        echo 'common.errors.UserError: srun started 2 ranks, Horovod sees 1'
        exit 1 ;;
    *) echo "python $*" ;;
esac"""
PROGRAMS = {
    "python": PYTHON,
    # Its own options first, then what it starts; the variables that a rank would have, if asked for.
    "srun": """echo "srun $*"
        [ -z "${SHOWN:-}" ] || env | grep -E "^($SHOWN)="
        while [ "${1#-}" != "$1" ]; do shift; done
        "$@\"""",
    "horovodrun": 'echo "horovodrun $*"',
    "mpirun": 'echo "mpirun $*"',
    "scontrol": "echo node1; echo node2",
    "hostname": "echo node1",
    "paste": "tr '\\n' , | sed 's/,$//'",
    "apptainer": 'echo "apptainer $*" >&2; while [ "$1" != python ]; do shift; done; exec "$@"',
    "module": 'echo "module $*"',
}


def run(folder: Path, script: str, *words: str, without: tuple = (), **variables: str) -> subprocess.CompletedProcess:
    """Run jobs/sites/`script` in a made-up Slurm job of 2 nodes with 2 ranks each, on nothing but stand-ins."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name, text in PROGRAMS.items():
        if name not in without:
            (path / name).write_text(f"#!/bin/bash\n{text}\n")
            (path / name).chmod(0o755)
    links = {path / tool: shutil.which(tool) for tool in TOOLS}
    for link, target in {**links, folder / "jobs": ROOT / "jobs", folder / "config": ROOT / "config"}.items():
        if not link.exists():
            link.symlink_to(target)
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "16"}
    job.update(SLURM_JOB_NODELIST="node[1-2]", SLURM_SUBMIT_DIR=str(folder), HOSTNAME="node1")
    given = {"PATH": str(path), "GPUS": "0", "FREE_KB": "1", "SITE_MODULES": "", "INTERFACE": "", **variables}
    call = ["bash", str(ROOT / "jobs" / "sites" / script), CONFIG, *words]
    return subprocess.run(call, cwd=folder, env={**job, **given}, capture_output=True, text=True, timeout=60)


def lines(done: subprocess.CompletedProcess) -> list:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


SLURM = [site.script.name for site in launch.sites().values() if site.script.suffix == ".slurm"]


@pytest.mark.parametrize("script", SLURM)
def test_every_slurm_script_runs_the_program_with_its_launcher(tmp_path, script):
    output = lines(run(tmp_path, script, "training.epochs=1"))
    program = [line for line in output if line.startswith("python -m") or line.startswith("horovodrun")]
    assert len(program) == 1
    assert f"-m cloudmask run --config {CONFIG}" in program[0]
    assert program[0].endswith(" training.epochs=1 output.run_name=cloudmask-7 --resume auto")


@pytest.mark.parametrize(
    ("script", "mpi"), [("kestrel", "pmix"), ("perlmutter", "cray_shasta"), ("archer2_cpu", "cray_shasta")]
)
def test_srun_gets_the_site_s_mpi_or_the_asked_one(tmp_path, script, mpi):
    assert f"srun --mpi={mpi} -" in lines(run(tmp_path, f"{script}.slurm", LAUNCHER="srun"))[-2]
    assert "srun --mpi=pmi2 -" in lines(run(tmp_path, f"{script}.slurm", LAUNCHER="srun", MPI="pmi2"))[-2]


def test_where_srun_does_not_fit_horovod_horovodrun_is_taken_and_it_is_said(tmp_path):
    output = lines(run(tmp_path, "kestrel.slurm", MEETS="no"))
    reason = "srun started 2 ranks, Horovod sees 1"
    assert f"job: srun --mpi=pmix does not work with this Horovod ({reason}): using horovodrun over Gloo" in output
    assert output[-1].startswith("horovodrun --gloo -np 4 -H node1:2,node2:2 python -m cloudmask run")


def test_a_launcher_that_is_named_is_not_doubted(tmp_path):
    output = lines(run(tmp_path, "kestrel.slurm", MEETS="no", LAUNCHER="srun"))
    assert output[-1].startswith("python -m cloudmask run")
    assert not any("distributed.init" in line for line in output)


@pytest.mark.parametrize(
    ("launcher", "start"), [("mpirun", "mpirun --bind-to none -np 4 python"), ("horovodrun", "horovodrun")]
)
def test_launchers_can_be_chosen(tmp_path, launcher, start):
    assert lines(run(tmp_path, "rivanna.slurm", LAUNCHER=launcher))[-1].startswith(start)


def test_an_unknown_launcher_is_one_line(tmp_path):
    done = run(tmp_path, "rivanna.slurm", LAUNCHER="mpiexec")
    assert done.returncode == 1
    assert done.stderr == "job: LAUNCHER is 'mpiexec': must be srun, mpirun or horovodrun\n"


def test_each_rank_s_cores_reach_srun(tmp_path):
    output = lines(run(tmp_path, "kestrel.slurm", LAUNCHER="srun", SHOWN="SRUN_CPUS_PER_TASK|OMP_NUM_THREADS"))
    assert {"SRUN_CPUS_PER_TASK=16", "OMP_NUM_THREADS=16"} <= set(output)


def test_archer2_s_gpu_nodes_say_ranks_and_cores_on_srun_s_line_alone(tmp_path):
    text = (ROOT / "jobs" / "sites" / "archer2_gpu.slurm").read_text()
    assert "#SBATCH --ntasks" not in text
    assert "#SBATCH --cpus-per-task" not in text
    output = lines(
        run(tmp_path, "archer2_gpu.slurm", LAUNCHER="srun", SHOWN="SRUN_CPUS_PER_TASK", SLURM_CPUS_PER_TASK="")
    )
    assert "SRUN_CPUS_PER_TASK=8" in output
    assert any("--ntasks-per-node=4 --hint=nomultithread --distribution=block:block python" in line for line in output)


def test_modules_are_the_script_s_or_the_asked_ones(tmp_path):
    asked = run(tmp_path, "rivanna.slurm", LAUNCHER="srun", SITE_MODULES="gcc/12 openmpi/4.1")
    assert lines(asked)[0] == "module load gcc/12 openmpi/4.1"


def test_modules_that_cannot_be_loaded_are_one_line(tmp_path):
    done = run(tmp_path, "rivanna.slurm", SITE_MODULES="gcc", without=("module",))
    assert done.returncode == 1
    assert done.stderr.startswith("job: there is no 'module' command on node1 to load gcc: set SITE_MODULES")


def test_in_a_container_the_same_line_runs_inside(tmp_path):
    (tmp_path / "image.sif").touch()
    done = run(tmp_path, "kestrel.slurm", LAUNCHER="srun", CONTAINER="image.sif")
    inside = f"--bind {tmp_path} --pwd {tmp_path} image.sif python -m cloudmask run --config {CONFIG}"
    assert lines(done)[-1].startswith(f"python -m cloudmask run --config {CONFIG}")
    assert any(line.startswith("apptainer exec ") and inside in line for line in done.stderr.splitlines())


def test_in_a_container_horovodrun_runs_inside_too_on_one_node(tmp_path):
    (tmp_path / "image.sif").touch()
    asked = {"LAUNCHER": "horovodrun", "CONTAINER": "image.sif"}
    output = lines(run(tmp_path, "pearl.slurm", SLURM_NNODES="1", **asked))
    assert "python -m horovod.runner.launch --gloo -np 4 -H" in output[-1]
    assert " python -m cloudmask run" in output[-1]
    done = run(tmp_path, "pearl.slurm", **asked)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "job: horovodrun cannot reach into CONTAINER on other nodes: use srun, or one node"


def test_a_container_that_is_not_there_is_one_line(tmp_path):
    done = run(tmp_path, "kestrel.slurm", CONTAINER="none.sif")
    assert done.stderr == (
        "job: CONTAINER is none.sif, which does not exist: build it (jobs/container/apptainer.def)\n"
    )


def test_an_interface_that_the_node_lacks_is_one_line_with_those_it_has(tmp_path):
    done = run(tmp_path, "perlmutter.slurm", INTERFACE="hsn9")
    assert done.returncode == 1
    assert done.stderr.startswith("job: INTERFACE is hsn9, but node1 has ")
    assert "lo" in done.stderr


@pytest.mark.parametrize("has_plugin", [True, False])
def test_slingshot_without_its_plugin_is_said_and_with_it_nccl_may_take_nothing_else(tmp_path, has_plugin):
    (tmp_path / "lib").mkdir()
    if has_plugin:
        (tmp_path / "lib" / "libnccl-net.so").touch()
    job = {"LAUNCHER": "srun", "SHOWN": "NCCL_NET|NCCL_SOCKET_IFNAME", "LD_LIBRARY_PATH": f"/usr/lib:{tmp_path}/lib"}
    output = lines(run(tmp_path, "perlmutter.slurm", **job))
    assert ("NCCL_NET=AWS Libfabric" in output) is has_plugin
    assert any("NCCL will use TCP" in line for line in output) is not has_plugin
    assert "NCCL_SOCKET_IFNAME=hsn" in output


@pytest.mark.parametrize("script", ["cirrus.slurm", "pearl.slurm"])
def test_v100_sites_take_float16_unless_asked_otherwise_and_accumulate_nothing(tmp_path, script):
    last = lines(run(tmp_path, script, "training.precision=float32", LAUNCHER="srun"))[-1]
    assert last.index("training.precision=mixed_float16") < last.index("training.precision=float32")
    assert "gradient_accumulation_frequency" not in last


@pytest.mark.parametrize(("listed", "asked", "code"), [(4, "4", 0), (2, "4", 1)])
def test_amd_s_gpus_are_counted_as_nvidia_s_are(tmp_path, listed, asked, code):
    rows = "".join(f"echo 'GPU[{n}]\t\t: Device ID: 0x740f'; echo 'GPU[{n}]\t\t: GUID: {n}'\n" for n in range(listed))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rocm-smi").write_text(f"#!/bin/bash\n{rows}")
    (tmp_path / "bin" / "rocm-smi").chmod(0o755)
    done = run(tmp_path, "archer2_gpu.slurm", LAUNCHER="srun", GPUS=asked)
    assert done.returncode == code
    if code:
        assert done.stderr == "job: 4 GPUs per node were requested, but node1 has 2\n"
