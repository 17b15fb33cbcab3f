"""The sites' job scripts on a real Slurm over three hosts (cluster.py): started, failed, warned, cut off."""

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.training import checkpoints
from tests.cluster import cluster as virtual
from tests.tf_deepcam.samples import write_samples

SMALL = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def cluster():
    with virtual.running() as made:
        write_samples(made.folder / "cam5", 4, 2)
        cloudmask = virtual.cloudmask_settings(made, epochs=2)
        deepcam = {
            "benchmark": "deepcam",
            "data": {"data_dir_prefix": f"{made.folder}/cam5"},
            "model": {"width": 0.05, "middle_blocks": 1},
            "training": {"local_batch_size": 1, "max_epochs": 1, "target_iou": 0.0},
            "pictures": 1,
        }
        for name, content in (("cloudmask", cloudmask), ("deepcam", deepcam)):
            (made.project / f"{name}.yaml").write_text(yaml.safe_dump(content))
        yield made


def weights(folder: Path) -> dict:
    return checkpoints.load_newest(folder / "checkpoints", pytest.fail).arrays


def completed(cluster: virtual.Cluster, job: int) -> str:
    state, output = cluster.finish(job)
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), output
    return output


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def by_srun(cluster) -> dict:
    """Final weights of the tiny run, started by srun on two nodes."""
    job = cluster.submit(*SMALL, "jobs/sites/rivanna.slurm", "cloudmask.yaml")
    output = completed(cluster, job)
    assert "2 ranks x" in output
    return weights(cluster.project / "runs" / f"cloudmask-{job}")


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_all_launchers_give_the_same_weights(cluster, by_srun, launcher):
    job = cluster.submit(*SMALL, "jobs/sites/rivanna.slurm", "cloudmask.yaml", LAUNCHER=launcher)
    assert "2 ranks x" in completed(cluster, job)
    assert_same(weights(cluster.project / "runs" / f"cloudmask-{job}"), by_srun)


@pytest.mark.parametrize(("mpi", "launcher"), [("pmix", "srun"), ("pmi2", "horovodrun over Gloo")])
def test_srun_is_taken_only_where_its_ranks_find_each_other(cluster, by_srun, mpi, launcher):
    job = cluster.submit(*SMALL, "jobs/sites/kestrel.slurm", "cloudmask.yaml", LAUNCHER="", MPI=mpi)
    output = completed(cluster, job)
    assert (f"srun --mpi={mpi} does not work with this Horovod" in output) is (launcher != "srun")
    assert_same(weights(cluster.project / "runs" / f"cloudmask-{job}"), by_srun)


def test_srun_is_told_each_rank_s_cores(cluster):
    show = "srun --mpi=none bash -c 'scontrol show step \"$SLURM_JOB_ID.$SLURM_STEP_ID\"'"
    (cluster.project / "cores.sh").write_text(f"#!/bin/bash\n. jobs/common.sh\nenvironment\n{show}\n")
    shape = ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=4", "--output=slurm-%j.out")
    assert " CPUs=8 Tasks=2 " in completed(cluster, cluster.submit(*shape, "cores.sh"))


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("pearl.slurm", ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1")),
        ("kestrel.slurm", SMALL),
        ("archer2_cpu.slurm", ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1")),
    ],
)
def test_every_site_s_script_runs_the_same_training(cluster, by_srun, script, options):
    launcher = "horovodrun" if script == "pearl.slurm" else "srun"
    float32 = "training.precision=float32"  # two of them take float16 for their V100
    job = cluster.submit(*options, f"jobs/sites/{script}", "cloudmask.yaml", float32, LAUNCHER=launcher)
    completed(cluster, job)
    assert_same(weights(cluster.project / "runs" / f"cloudmask-{job}"), by_srun)


@pytest.mark.parametrize("script", ["workstation.sh", "dgx.sh"])
def test_scripts_without_a_scheduler_run_it_too(cluster, by_srun, script):
    done = cluster.run("bash", f"jobs/sites/{script}", "cloudmask.yaml", f"output.run_name={script}", RANKS="2")
    assert done.returncode == 0, done.stdout
    assert_same(weights(cluster.project / "runs" / script), by_srun)


def test_deepcam_on_perlmutter_and_accumulated_on_cirrus(cluster):
    job = cluster.submit(*SMALL, "jobs/sites/perlmutter.slurm", "deepcam.yaml")
    assert "training on 4 samples of 32 x 48, 2 for validation; 2 ranks" in completed(cluster, job)
    job = cluster.submit(
        *SMALL,
        "jobs/sites/cirrus.slurm",
        "cloudmask.yaml",
        "training.precision=float32",
        "training.gradient_accumulation_frequency=3",
    )
    assert "global batch 12" in completed(cluster, job)


def test_summit_s_script_through_a_strict_jsrun(cluster, by_srun):
    shutil.copy(Path(__file__).with_name("jsrun"), cluster.folder / "bin" / "jsrun")
    sizes = {"NODES": "2", "RANKS_A_NODE": "1", "GPUS_A_SET": "0", "CORES_A_RANK": "1", "JSRUN_NODES": "node1,node2"}
    done = cluster.run("bash", "jobs/sites/summit.lsf", "cloudmask.yaml", LSB_JOBID="77", **sizes)
    assert done.returncode == 0, done.stdout
    assert_same(weights(cluster.project / "runs" / "cloudmask-77"), by_srun)
    sizes["CORES_A_RANK"] = "43"
    done = cluster.run("bash", "jobs/sites/summit.lsf", "cloudmask.yaml", LSB_JOBID="78", **sizes)
    assert done.returncode == 1
    assert "jsrun: 1 resource sets of 43 cores do not fit 42 cores" in done.stdout


def test_a_typo_and_a_missing_gpu_fail_the_job_in_seconds(cluster):
    job = cluster.submit(*SMALL, "jobs/sites/kestrel.slurm", "cloudmask.yaml", "training.epoch=1")
    state, output = cluster.finish(job)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "1:0")
    assert "training.epoch" in output
    job = cluster.submit(*SMALL, "jobs/sites/kestrel.slurm", "cloudmask.yaml", GPUS="4")
    state, output = cluster.finish(job)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "1:0")
    assert "job: 4 GPUs per node were requested, but node1 has 0" in output


def test_a_training_that_fails_is_a_failed_job(cluster):
    job = cluster.submit(*SMALL, "jobs/sites/rivanna.slurm", "cloudmask.yaml", "optimizer.start_lr=1e30")
    state, output = cluster.finish(job)
    assert state["JobState"] == "FAILED"
    assert "is NaN or infinite at update" in output


def test_the_warning_leads_to_a_checkpoint_and_the_requeued_job_ends_as_if_nothing_had_been(cluster):
    long = ("training.epochs=12", "training.checkpoints=steps", "training.save_frequency=2")
    whole = cluster.submit(*SMALL, "jobs/sites/rivanna.slurm", "cloudmask.yaml", *long)
    completed(cluster, whole)
    job = cluster.submit(*SMALL, "jobs/sites/rivanna.slurm", "cloudmask.yaml", *long)
    folder = cluster.project / "runs" / f"cloudmask-{job}" / "checkpoints"
    deadline = time.monotonic() + 240
    while not checkpoints.list_steps(folder):
        assert time.monotonic() < deadline, cluster.output(job)
        time.sleep(0.05)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    while "requeued, to resume there" not in cluster.output(job):
        assert time.monotonic() < deadline, cluster.output(job)
        time.sleep(0.2)
    cluster.start_requeued(job)
    output = completed(cluster, job)
    assert re.search(r"stopped: after update \d+ by SIGUSR1, with a checkpoint", output)
    assert "resuming" in output
    assert_same(weights(folder.parent), weights(cluster.project / "runs" / f"cloudmask-{whole}"))


def test_a_cut_link_stops_all_in_bounded_time_and_the_run_resumes(cluster):
    where = ("-np", "3", "-H", "node1:1,node2:1,node3:1")
    program = ("python", "-m", "cloudmask", "train", "--config", "cloudmask.yaml", "output.run_name=cut")
    limits = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "15", "HOROVOD_STALL_CHECK_TIME_SECONDS": "5"}
    limits["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"] = "15"
    words = ("horovodrun", "--gloo", *where, *program, "training.checkpoints=steps", "training.save_frequency=4")
    process = cluster.start_program(*words, "training.epochs=400", **limits)
    folder = cluster.project / "runs" / "cut" / "checkpoints"
    deadline = time.monotonic() + 240
    try:
        while not checkpoints.list_steps(folder):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cluster.cut("node3")
        output = process.communicate(timeout=100)[0]
    finally:
        cluster.mend("node3")
        process.kill()
    assert process.returncode != 0, output
    step = checkpoints.list_steps(folder)[-1]
    resumed = cluster.run(*words, f"training.epochs={step // 4 + 2}", "--resume", "auto", **limits)
    assert resumed.returncode == 0, resumed.stdout
    assert f"after update {step}" in resumed.stdout
