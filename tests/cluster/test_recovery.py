"""A training on three hosts (cluster.py) of which one is lost in the middle of an epoch ends by itself, whole."""

import os
import re
import signal
import sys
import time

import numpy as np
import pytest
import yaml

from common.training import checkpoints
from tests.cluster import cluster as virtual
from tests.helpers import records

EPOCHS, UPDATES = 10, 4  # of 24 patches: 3 ranks x 2
INTERVAL = 3  # updates between checkpoints: 3, 6 and 9 are in the middle of an epoch
OFTEN = ("training.checkpoints=steps", f"training.save_frequency={INTERVAL}", "training.logging_frequency=1")
# A host that is cut off leaves no word: how long its peers wait. Three ranks that compile on two busy cores may be this
# far apart without that any is lost.
LIMITS = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "45", "HOROVOD_STALL_CHECK_TIME_SECONDS": "10"}
LIMITS["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"] = "45"
PATIENCE = 900  # seconds, for what takes one or two minutes on an idle machine
pytestmark = pytest.mark.timeout(3 * PATIENCE)


@pytest.fixture(scope="module")
def cluster():
    with virtual.running() as made:
        settings = virtual.cloudmask_settings(made, EPOCHS)
        (made.project / "cloudmask.yaml").write_text(yaml.safe_dump(settings))
        yield made


def wait_for_checkpoint(folder, ended) -> None:
    deadline = time.monotonic() + PATIENCE
    while not checkpoints.list_steps(folder / "checkpoints"):
        assert not ended()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_whole(folder, lost_at: float, ranks: int) -> None:
    """All epochs, finite weights, no more lost than the updates between two checkpoints; says the seconds."""
    newest = checkpoints.load_newest(folder / "checkpoints", pytest.fail)
    assert newest.step == EPOCHS * UPDATES
    assert all(np.isfinite(array).all() for array in newest.arrays.values())
    (resumed,) = records(folder, "resume")
    steps = records(folder, "step")
    before = max(record["step"] for record in steps if record["time"] < resumed["time"])
    assert 0 <= before - resumed["step"] <= INTERVAL
    after = [record for record in steps if record["time"] > resumed["time"]]
    assert [record["step"] for record in after] == list(range(resumed["step"] + 1, EPOCHS * UPDATES + 1))
    assert [record["epoch"] for record in records(folder, "epoch")][-1] == EPOCHS
    seconds = after[0]["time"] - lost_at
    print(f"{ranks} ranks: {seconds:.1f} s to the next update, {before - resumed['step']} updates lost")


@pytest.mark.parametrize(
    ("name", "lose", "hosts", "lost"),
    [
        ("crashed", virtual.Cluster.crash, ("node1", "node2", "node3"), "node3"),
        ("cut", virtual.Cluster.cut, ("node2", "node3", "node1"), "node2"),  # the host of rank 0, which writes
    ],
)
def test_a_host_that_is_lost_in_the_middle_of_an_epoch_does_not_end_the_run(cluster, name, lose, hosts, lost):
    where = ("-np", "3", "-H", ",".join(f"{host}:1" for host in hosts), "--restarts", "2", "--min-np", "2")
    program = ("cloudmask", "train", "--config", "cloudmask.yaml", f"output.run_name={name}", *OFTEN)
    process = cluster.start_program("python", "-m", "common.run", *where, "--", *program, **LIMITS)
    folder = cluster.project / "runs" / name
    try:
        wait_for_checkpoint(folder, lambda: process.poll() is not None)
        lose(cluster, lost)
        lost_at = time.time()
        output = process.communicate(timeout=PATIENCE)[0]
    finally:
        cluster.mend(lost)
        process.kill()
    assert process.returncode == 0, output
    assert re.search(rf"^restart 1 of 2: .*; no answer from {lost}; resuming from the checkpoint", output, re.MULTILINE)
    said = "resuming on 2 ranks a run that began on 3: the global batch stays 6, local batch 1 x 3 passes (2 x 1"
    assert said in output
    assert_whole(folder, lost_at, 2)


def test_with_fewer_hosts_than_asked_for_it_ends_at_its_checkpoint_with_exit_code_75(cluster):
    where = ("-np", "3", "-H", "node1:1,node2:1,node3:1", "--restarts", "2", "--min-np", "3")
    program = ("cloudmask", "train", "--config", "cloudmask.yaml", "output.run_name=few", *OFTEN)
    process = cluster.start_program("python", "-m", "common.run", *where, "--", *program, **LIMITS)
    folder = cluster.project / "runs" / "few"
    try:
        wait_for_checkpoint(folder, lambda: process.poll() is not None)
        cluster.crash("node3")
        output = process.communicate(timeout=PATIENCE)[0]
    finally:
        cluster.mend("node3")
        process.kill()
    assert process.returncode == 75, output
    step = checkpoints.list_steps(folder / "checkpoints")[-1]
    assert re.fullmatch(
        rf"stopped: after update {step}, with a checkpoint: .*; no answer from node3; 2 ranks are left, --min-np is 3: "
        "continue with --resume runs/few",
        output.splitlines()[-1],
    )


def test_a_slurm_job_goes_on_without_a_node_that_went_down(cluster):
    script = cluster.project / "restarts.slurm"
    script.write_text(
        '#!/usr/bin/env bash\nset -euo pipefail\ncd "$SLURM_SUBMIT_DIR"\n. jobs/common.sh\n'
        'parse "$@"\nenvironment\nrun_with_restarts\n'
    )
    asked = ("--no-kill", "--nodes=3", "--ntasks-per-node=1", f"--output={cluster.project}/slurm-%j.out")
    job = cluster.submit(*asked, script, "cloudmask.yaml", *OFTEN, COMMAND="cloudmask train", **LIMITS)
    folder = cluster.project / "runs" / f"cloudmask-{job}"
    try:
        wait_for_checkpoint(folder, lambda: cluster.state(job).get("JobState") not in ("PENDING", "RUNNING"))
        cluster.crash("node3")
        lost_at = time.time()
        cluster.run("scontrol", "update", "NodeName=node3", "State=DOWN", "Reason=crashed")
        state, output = cluster.finish(job, PATIENCE)
    finally:
        cluster.mend("node3")
        cluster.run("scontrol", "update", "NodeName=node3", "State=RESUME")
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), output
    assert "; no answer from node3; resuming from the checkpoint after update" in output
    assert_whole(folder, lost_at, 2)


def test_a_job_of_srun_s_is_requeued_where_a_rank_was_killed(cluster):
    asked = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "jobs/sites/rivanna.slurm", "cloudmask.yaml")
    job = cluster.submit(*asked, *OFTEN, COMMAND="cloudmask train", REQUEUES="1")
    folder = cluster.project / "runs" / f"cloudmask-{job}"
    wait_for_checkpoint(folder, lambda: cluster.state(job).get("JobState") not in ("PENDING", "RUNNING"))
    (rank,) = cluster.programs("node2", f"{sys.executable} -m cloudmask train")
    os.kill(rank, signal.SIGKILL)
    cluster.start_requeued(job, PATIENCE)
    state, output = cluster.finish(job, PATIENCE)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), output
    assert "job: a rank was killed; requeued, to resume from its last checkpoint" in output
    newest = checkpoints.load_newest(folder / "checkpoints", pytest.fail)
    assert newest.step == EPOCHS * 6  # 2 ranks x 2 of 24 patches
    assert all(np.isfinite(array).all() for array in newest.arrays.values())
