"""Two real processes: the same result as one, exact resume after kill -9, and no rank left behind on an error."""

import re
from pathlib import Path

import numpy as np
import pytest

from common.training import checkpoints
from tests.helpers import TINY, errors, kill_after, run, scene_arrays, warn_after, write_hdf, write_scenes


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> tuple:
    """What two_ranks.py computes on 1 and on 2 ranks."""
    folder = tmp_path_factory.mktemp("equal")
    for number in range(5):
        arrays = scene_arrays(number, 40, 104)
        if number == 3:
            arrays["bts"][:20] = np.nan  # ranks hold pixels of different weight
        write_hdf(folder / "scenes" / f"S3A_{number}.hdf", arrays)
    files = []
    for ranks in (1, 2):
        files.append(folder / f"{ranks}.npz")
        done = run(Path(__file__).with_name("two_ranks.py"), folder / "scenes", files[-1], ranks=ranks)
        assert done.returncode == 0, done.stdout
    return tuple(dict(np.load(file)) for file in files)


def test_two_ranks_of_half_the_batch_take_the_steps_of_one(results):
    one, two = results
    assert (int(one["size"]), int(two["size"])) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-5)
    assert abs(one["losses"][-1] - one["losses"][0]) > 1e-3  # they did move


def test_gradients_exchanged_as_float16_take_nearly_the_same_step(results):
    one, two = results
    np.testing.assert_allclose(two["compressed"], one["compressed"], atol=1e-3)
    assert np.abs(two["compressed"] - two["weights"]).max() > 5e-3  # the step that was taken


def test_a_gradient_below_float16_survives_its_exchange_and_a_large_one_does_not_overflow_in_the_sum(results):
    for result in results:
        np.testing.assert_allclose(result["steps"], [1e-8, 1.5], rtol=1e-3)


def test_evaluation_does_not_depend_on_the_number_of_ranks(results):
    one, two = results
    np.testing.assert_allclose(two["scores"], one["scores"], atol=1e-6)


def train(folder: Path, name: str, *more: str) -> list:
    settings = [*TINY, f"data.train_dir={folder}/scenes", f"output.folder={folder}", "training.epochs=4"]
    return [
        "-m",
        "cloudmask",
        "train",
        *settings,
        "training.checkpoints=steps",
        "training.save_frequency=2",
        f"output.run_name={name}",
        *more,
    ]


def final_state(folder: Path) -> dict:
    found = checkpoints.load_newest(folder / "checkpoints", pytest.fail)
    return {"step": np.array(found.step), **found.arrays}


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory):
    """Final states of the run without a break by its number of ranks, each made once, and the folder of its scenes."""
    folder, states = tmp_path_factory.mktemp("whole"), {}
    write_scenes(folder / "scenes", 5)  # 4 to train on: 24 patches, 12 / ranks updates an epoch

    def state(ranks: int) -> dict:
        if ranks not in states:
            whole = run(*train(folder, f"on {ranks}"), ranks=ranks)
            assert whole.returncode == 0, whole.stdout
            states[ranks] = final_state(folder / f"on {ranks}")
        return states[ranks]

    return state


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_and_resumed_is_bit_for_bit_the_run_in_one_go(in_one_go, tmp_path, ranks):
    write_scenes(tmp_path / "scenes", 5)
    killed_after = 24 // ranks  # updates: two epochs of four
    kill_after(train(tmp_path, "killed"), tmp_path / "killed", killed_after, ranks)
    reached = max(checkpoints.list_steps(tmp_path / "killed" / "checkpoints"))
    assert killed_after <= reached < 2 * killed_after
    resumed = run(*train(tmp_path, "killed", "--resume", tmp_path / "killed"), ranks=ranks)
    assert resumed.returncode == 0, resumed.stdout
    assert f"after update {reached}" in resumed.stdout
    one_go, in_two = in_one_go(ranks), final_state(tmp_path / "killed")
    assert one_go.keys() == in_two.keys()
    for name, array in one_go.items():
        np.testing.assert_array_equal(in_two[name], array, err_msg=name)


@pytest.mark.slow
def test_a_warning_to_one_rank_stops_all_at_a_checkpoint_and_the_resumed_run_is_the_run_in_one_go(in_one_go, tmp_path):
    write_scenes(tmp_path / "scenes", 5)
    code, output = warn_after(train(tmp_path, "warned"), tmp_path / "warned", 2, ranks=2)
    assert code != 0
    assert output.count("stopped: after update") == 1, output
    (line,) = (text for text in output.splitlines() if "stopped: after update" in text)
    stopped = int(re.search(r"after update (\d+) by SIGUSR1, with a checkpoint: continue with --resume", line)[1])
    assert checkpoints.list_steps(tmp_path / "warned" / "checkpoints")[-1] == stopped
    resumed = run(*train(tmp_path, "warned", "--resume", tmp_path / "warned"), ranks=2)
    assert resumed.returncode == 0, resumed.stdout
    in_two = final_state(tmp_path / "warned")
    for name, array in in_one_go(2).items():
        np.testing.assert_array_equal(in_two[name], array, err_msg=name)


def test_a_file_that_only_one_rank_reads_stops_both(tmp_path):
    paths = write_scenes(tmp_path / "scenes", 5)
    paths[4].write_bytes(paths[4].read_bytes()[:30000])
    output = run(*train(tmp_path, "bad"), ranks=2, timeout=120)
    assert output.returncode != 0
    assert len(errors(output.stdout)) == 1, output.stdout
    assert "S3A_004.hdf" in errors(output.stdout)[0]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_both_with_the_step(tmp_path):
    write_scenes(tmp_path / "scenes", 5)
    output = run(*train(tmp_path, "nan", "optimizer.start_lr=1e30"), ranks=2, timeout=120)
    assert output.returncode != 0
    assert len(errors(output.stdout)) == 1, output.stdout
    assert "is NaN or infinite at update" in errors(output.stdout)[0]


@pytest.mark.slow
def test_fewer_scenes_than_ranks_is_said_once(tmp_path):
    write_scenes(tmp_path / "scenes", 2)
    output = run(*train(tmp_path, "few"), ranks=2, timeout=120)
    assert output.returncode != 0
    (line,) = errors(output.stdout)
    assert "1 training scenes in" in line
    assert "for 2 ranks: start at most one rank per scene" in line


@pytest.mark.slow
def test_a_peer_that_falls_silent_in_an_exchange_is_a_lost_rank_and_no_fault_of_the_program():
    program = "tests.common.distributed.silent_peer"
    done = run("-m", "common.run", "-np", 2, "--", program, HOROVOD_GLOO_TIMEOUT_SECONDS="5")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout  # for which nothing is started again
    assert done.stdout.splitlines()[-1].startswith("error: a rank, its host or its link was lost; ")
