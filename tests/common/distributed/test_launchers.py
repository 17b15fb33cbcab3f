"""The number of ranks is the one that was asked for, or nothing runs."""

import subprocess

import pytest

from common.distributed import launchers
from common.errors import UserError
from tests.helpers import ROOT, TINY, command, environment, errors, run, write_scenes


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, None),  # the batch script itself
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}, ("srun", 4, 2)),
        ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "1"}, ("mpirun", 3, 1)),
        ({"JSM_NAMESPACE_SIZE": "6", "JSM_NAMESPACE_RANK": "5"}, ("jsrun", 6, 5)),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, ("mpiexec", 2, 0)),
        # horovodrun started inside a step of one task
        ({"SLURM_STEP_NUM_TASKS": "1", "HOROVOD_SIZE": "2", "HOROVOD_RANK": "1"}, ("horovodrun", 2, 1)),
    ],
)
def test_launchers_are_known_by_their_variables(variables, expected):
    found = launchers.promised(variables)
    assert (found and (found.launcher, found.ranks, found.rank)) == expected


WHOLE = {
    **{
        f"HOROVOD_{kind}{what}": number
        for kind in ("", "LOCAL_", "CROSS_")
        for what, number in (("RANK", "0"), ("SIZE", "2"))
    },
    "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
    "HOROVOD_GLOO_RENDEZVOUS_PORT": "1234",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({name: None for name in WHOLE if name != "HOROVOD_RANK"}, r"HOROVOD_RANK set, but not HOROVOD_SIZE"),
        ({"HOROVOD_CROSS_SIZE": None}, r"5 of horovodrun's variables set, but not HOROVOD_CROSS_SIZE"),
        ({"HOROVOD_RANK": "one"}, r"HOROVOD_RANK is 'one', which is no number"),
        ({"HOROVOD_RANK": "-1"}, r"HOROVOD_RANK is '-1', which is no number"),
        ({"HOROVOD_RANK": "2"}, r"HOROVOD_RANK is 2 of 2 ranks, which cannot be"),
        ({"HOROVOD_GLOO_RENDEZVOUS_ADDR": None}, r"HOROVOD_SIZE is 2, but HOROVOD_GLOO_RENDEZVOUS_ADDR is not set"),
    ],
)
def test_variables_that_horovodrun_did_not_set(changes, message):
    """With them Horovod waits for ranks that nobody has started."""
    launchers.check_variables(WHOLE)
    launchers.check_variables({"HOROVOD_CYCLE_TIME": "20"})
    given = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    with pytest.raises(UserError, match=f"{message}.*: unset HOROVOD_"):
        launchers.check_variables(given)


def test_a_rank_s_number_set_by_hand_is_one_line(tmp_path):
    output = run("-m", "cloudmask", "train", f"data.train_dir={tmp_path}", HOROVOD_RANK="1")
    assert output.returncode == 1
    assert output.stdout.startswith("error: HOROVOD_RANK set, but not HOROVOD_SIZE")


def test_a_lost_world_is_an_error_of_the_first_and_silent_in_the_others():
    variables = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}
    with pytest.raises(UserError, match=r"srun started 4 ranks \(SLURM_STEP_NUM_TASKS\), but Horovod sees 1: .*pmix"):
        launchers.check_world(variables, 1)
    with pytest.raises(SystemExit):
        launchers.check_world({**variables, "SLURM_PROCID": "3"}, 1)
    launchers.check_world(variables, 4)


def test_the_program_stops_where_srun_s_ranks_do_not_find_each_other(tmp_path):
    output = run("-m", "cloudmask", "train", f"data.train_dir={tmp_path}", SLURM_STEP_NUM_TASKS="2", SLURM_PROCID="0")
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert line.startswith("error: srun started 2 ranks (SLURM_STEP_NUM_TASKS), but Horovod sees 1")


def test_ranks_with_different_settings_stop(tmp_path):
    write_scenes(tmp_path / "scenes", 5)
    settings = [*TINY, f"data.train_dir={tmp_path}/scenes", f"output.folder={tmp_path}"]
    program = """
import os, sys
sys.argv = ['x', 'train', *sys.argv[1:], f"training.epochs={3 + int(os.environ['HOROVOD_RANK'])}"]
from cloudmask.__main__ import COMMANDS
from common.cli.program import run_commands
run_commands("cloudmask", "", COMMANDS)
"""
    done = subprocess.run(
        command("-c", program, *settings, ranks=2),
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "has another configuration than rank 0 on" in done.stdout
