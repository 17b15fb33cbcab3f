"""--dry-run as a user starts it: a few updates, what the whole will need, and nothing left behind."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.training import dry_run
from common.training.journal import duration
from common.training.settings import TrainingSettings
from common.training.task import Goal
from tests.helpers import TINY as TINY_SCENES
from tests.helpers import errors, run, write_scenes
from tests.tf_deepcam.samples import TINY, write_samples


def deepcam(folder: Path) -> list:
    write_samples(folder / "data", 6, 3)
    return ["tf_deepcam", "train", *TINY, f"data.data_dir_prefix={folder}/data", "training.max_epochs=4"]


def cloudmask(folder: Path) -> list:
    write_scenes(folder / "scenes", 5)  # 24 patches to train on, 6 held out
    return ["cloudmask", "run", *TINY_SCENES, f"data.train_dir={folder}/scenes", "training.epochs=4"]


# On two ranks: updates and evaluations to the end, and batches of one of these.
@pytest.mark.parametrize(("benchmark", "ranks", "numbers"), [(deepcam, 1, (12, 4, 2)), (cloudmask, 2, (24, 4, 2))])
def test_it_says_what_the_training_will_need_and_leaves_nothing(tmp_path, benchmark, ranks, numbers):
    words = benchmark(tmp_path)
    before = set(tmp_path.rglob("*"))
    more = ["--dry-run", "data.cache=disk", f"data.cache_dir={tmp_path}", f"output.folder={tmp_path}/runs"]
    output = run("-m", *words, *more, ranks=ranks)
    assert output.returncode == 0, output.stdout
    assert set(tmp_path.rglob("*")) == before
    memory = re.search(r"memory: ([\d.]+) GiB per rank, and up to [\d.]+ GiB for batches read ahead", output.stdout)
    assert 0.1 < float(memory[1]) < 20
    assert re.search(r"time: [\d.]+ s to compile; [\d.]+ s per update, [\d.]+ s to read its batch", output.stdout)
    found = re.search(
        r"to the end: (\d+) updates in 4 epochs, (\d+) evaluations of (\d+) batches: about", output.stdout
    )
    assert tuple(map(int, found.groups())) == numbers


def test_the_estimate_is_of_later_updates():
    """The first one's compilation and loading are no measure of the others."""
    seconds = {0: (2.0, 5.0), 1: (0.2, 0.1), 2: (0.1, 0.3), 3: (0.3, 0.2)}
    assert dry_run._later(lambda number: seconds[number]) == pytest.approx([0.2, 0.2])
    asked = []
    assert dry_run._later(lambda number: asked.append(number) or (1.0, 30.0)) == [1.0, 30.0]
    assert asked == [0]


def test_an_evaluation_is_more_than_its_batches():
    """0.5 s for itself and 0.1 s a batch, of which it has 20; 10 updates of 1 s in each of 4 epochs."""
    batches = SimpleNamespace(steps_per_epoch=10, read_ahead=lambda threads: SimpleNamespace(at_once=1))
    made = SimpleNamespace(goal=Goal("right", 0.0, 4), batches=batches)
    seconds = dry_run.Seconds(compilation=2.0, read=0.1, update=1.0, one=0.6, several=0.8)
    lines = dry_run._time(made, TrainingSettings(), seconds, 20, 1)
    assert lines[0].endswith("2.500 s per evaluation")
    assert lines[1].endswith(f"4 evaluations of 20 batches: about {duration(2 + 40 + 10)}")


def test_bad_settings_and_data_are_one_line_as_in_the_run_itself(tmp_path):
    words = deepcam(tmp_path)
    output = run("-m", *words, "--dry-run", "--resume")
    assert errors(output.stdout) == ["error: --dry-run starts a new run and keeps nothing of it: leave out --resume"]
    for path in (tmp_path / "data" / "train").glob("*.h5"):
        path.write_bytes(b"no HDF5")
    output = run("-m", *words, "--dry-run")
    assert output.returncode == 1
    assert len(errors(output.stdout)) == 1
