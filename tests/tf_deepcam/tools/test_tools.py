"""split, summarize and synthesize."""

import h5py
import numpy as np
import pytest

from common.errors import UserError
from tests.helpers import errors, run, write_hdf
from tests.tf_deepcam.samples import sample_arrays, write_samples
from tf_deepcam.data import samples as data
from tf_deepcam.data.channels import CAM5
from tf_deepcam.tools import split, synthesize


def test_the_split_is_a_seeded_shuffle_of_the_sorted_names():
    names = [f"data-{number:02d}.h5" for number in range(25)]
    expected = sorted(names)
    np.random.RandomState(12345).shuffle(expected)
    parts = split.split(names[::-1], (0.8, 0.1, 0.1), 12345)
    assert [parts[part] for part in split.PARTS] == [expected[:20], expected[20:22], expected[22:]]


@pytest.mark.parametrize(
    ("count", "sizes"), [(10, [8, 1, 1]), (11, [8, 1, 2]), (121266 + 15158 * 2, [121265, 15158, 15159])]
)
def test_shares_are_rounded_down_and_the_rest_is_for_the_test(count, sizes):
    parts = split.split([str(number) for number in range(count)], (0.8, 0.1, 0.1), 1)
    assert [len(parts[part]) for part in split.PARTS] == sizes


@pytest.mark.parametrize("how", ["symbolic", "hard", "copy"])
def test_split_places_files_and_can_be_repeated(tmp_path, capsys, how):
    for number in range(10):
        write_hdf(tmp_path / "all" / f"data-{number}.h5", {"x": np.arange(number)})
    for _ in range(2):
        assert split.main(str(tmp_path / "all"), str(tmp_path / "out"), (0.8, 0.1, 0.1), 7, how) == 0
    assert "0 files placed" in capsys.readouterr().out
    placed = sorted((tmp_path / "out").rglob("data-*.h5"))
    assert len(placed) == 10
    assert all(path.is_symlink() is (how == "symbolic") for path in placed)
    assert all(path.read_bytes() == (tmp_path / "all" / path.name).read_bytes() for path in placed)


def test_split_leaves_another_s_file_alone(tmp_path):
    for number in range(4):
        write_hdf(tmp_path / "all" / f"data-{number}.h5", {"x": np.arange(number)})
        (tmp_path / "out" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / "train" / f"data-{number}.h5").write_text("mine")
    with pytest.raises(UserError, match="exists already and is another file"):
        split.main(str(tmp_path / "all"), str(tmp_path / "out"), (0.8, 0.1, 0.1), 7, "copy")
    assert not (tmp_path / "out" / "test").exists()


@pytest.mark.slow
def test_summarize_equals_numpy_and_does_not_depend_on_ranks(tmp_path):
    for ranks in (1, 2):
        root = tmp_path / str(ranks)
        write_samples(root, 5, 1)
        (root / "stats.h5").unlink()
        output = run("-m", "tf_deepcam", "summarize", root, ranks=ranks)
        assert output.returncode == 0, output.stdout
    values = np.stack([sample_arrays(number)["climate/data"] for number in range(5)]).astype(np.float64)
    axes = (0, 1, 2)
    expected = {"minval": values.min(axes), "maxval": values.max(axes), "mean": values.mean(axes)}
    expected["sqmean"] = (values**2).mean(axes)
    with h5py.File(tmp_path / "1" / "stats.h5") as one, h5py.File(tmp_path / "2" / "stats.h5") as two:
        assert one["climate/count"][()] == 5
        for name, value in expected.items():
            np.testing.assert_allclose(one[f"climate/{name}"], value, rtol=1e-6)
            np.testing.assert_array_equal(one[f"climate/{name}"], two[f"climate/{name}"])
    again = run("-m", "tf_deepcam", "summarize", tmp_path / "1")
    assert again.returncode == 1
    assert "exists already and is left as it is" in errors(again.stdout)[0]


def test_a_sample_depends_on_seed_and_number_only():
    first = synthesize.make_sample(3, 5, 96, 144, 4.0)
    again = synthesize.make_sample(3, 5, 96, 144, 4.0)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], synthesize.make_sample(3, 6, 96, 144, 4.0)[0])


def test_class_shares_are_near_the_real_ones():
    counts = sum(np.bincount(synthesize.make_sample(0, n)[1].ravel(), minlength=3) for n in range(12))
    shares = counts / counts.sum()  # CAM5: 98.6 %, 0.05 %, 1.3 %
    assert 0.98 < shares[0] < 0.99
    assert 0.0002 < shares[1] < 0.001
    assert 0.008 < shares[2] < 0.018


def test_cyclones_are_warm_low_and_windy_and_rivers_are_moist():
    found = {1: [], 2: []}
    names = [each.name for each in CAM5]
    for number in range(6):
        fields, labels = synthesize.make_sample(1, number)
        rows = np.abs(np.linspace(-90, 90, 768)) < 50
        for kind in found:
            inside, outside = fields[labels == kind], fields[rows][labels[rows] == 0]
            if len(inside):
                found[kind].append(inside.mean(0) - outside.mean(0))
    cyclone, river = (dict(zip(names, np.mean(values, 0))) for values in found.values())
    assert cyclone["PSL"] < -1000
    assert cyclone["T500"] > 1
    assert cyclone["PRECT"] > 1e-7
    assert river["TMQ"] > 5
    assert river["U850"] > 5


def test_synthesize_writes_the_real_format(tmp_path):
    options = ["--folder", tmp_path, "--train", 2, "--validation", 1, "--height", 48, "--width", 80]
    for _ in range(2):
        output = run("-m", "tf_deepcam", "synthesize", *options)
        assert output.returncode == 0, output.stdout
    assert "0 samples" in output.stdout
    with h5py.File(tmp_path / "train" / "data-2000-01-01-00-1.h5") as file:
        assert (file["climate/data"].shape, file["climate/data"].dtype) == ((48, 80, 16), np.float32)
        assert file["climate/labels_0"].shape == (48, 80)
        assert list(file["climate"].attrs["channels"])[:2] == ["TMQ", "U850"]
    assert data.find_stats(str(tmp_path)) == tmp_path / "stats.h5"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("synthesize.train=2",), "takes no 'synthesize.train=2': python -m tf_deepcam synthesize --folder DIR"),
        (("--folder", "x", "--height", "50"), "--height: must be at least 16, a multiple of 16 (found: 50)"),
        (("--folder", "x", "--seed", "three"), "argument --seed: invalid whole number value: 'three'"),
        (("--folder", "x", "--events", "nan"), "argument --events: must be above 0 (found: nan)"),
    ],
)
def test_a_mistake_of_synthesize_is_one_line(tmp_path, words, message):
    output = run("-m", "tf_deepcam", "synthesize", *words, cwd=tmp_path)
    (line,) = errors(output.stdout)
    assert message in line
    assert list(tmp_path.iterdir()) == []
