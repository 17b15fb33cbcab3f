"""Statistics and units that are not those of the samples, fill values, labels that are none or two: never silent."""

import re

import numpy as np
import pytest

from common.data import doubts
from common.errors import UserError
from common.training.settings import BatchSizes
from tests.helpers import write_hdf
from tests.tf_deepcam.samples import HEIGHT, WIDTH, sample_arrays, write_samples, write_stats
from tf_deepcam.config import DataSettings
from tf_deepcam.data import formats
from tf_deepcam.data import samples as data
from tf_deepcam.data.sample_batches import sample_batches
from tf_deepcam.tools import summarize

ALL = tuple(range(16))


@pytest.fixture(autouse=True)
def _nothing_was_said():
    doubts.forget()


def batches(root, **settings):
    chosen = DataSettings(data_dir_prefix=str(root), **settings)
    return sample_batches(chosen, BatchSizes(2, 1, 1, 1), seed=1, threads=1)


def change(root, name, work):
    for path in sorted(root.glob("*/data-*.h5")):
        arrays = sample_arrays(int(path.name[13:15]) - 1)
        write_hdf(path, {**arrays, name: work(arrays[name])})


@pytest.mark.parametrize(("low", "high"), [(1000.0, 1100.0), (-200.0, -100.0), (0.0, 20.0), (60.0, 70.0)])
def test_statistics_of_other_data(tmp_path, low, high):
    write_samples(tmp_path)
    write_stats(tmp_path, low, high)
    for read in (lambda: batches(tmp_path), lambda: formats.find((str(tmp_path / "validation"),), ALL, "")):
        with pytest.raises(UserError, match=r"stats\.h5: is not of samples such as .*median of .* when normalised"):
            read()


@pytest.mark.parametrize("part", ["train", "validation"])
def test_data_in_other_units(tmp_path, part):
    write_samples(tmp_path)
    change(tmp_path, "climate/data", lambda fields: fields * 1000)
    read = data.reader(data.list_samples(settings(tmp_path), part), settings(tmp_path))
    path, arrays = str(next((tmp_path / part).iterdir())), data.sample_format(read).empty(1)
    with pytest.raises(UserError, match=r"holds \d.* in channel \d+, \d.* when normalised.* or other units"):
        read(path, arrays)


def settings(root) -> DataSettings:
    return DataSettings(data_dir_prefix=str(root))


@pytest.mark.parametrize("fill", [1e20, -1e20, 9.96921e36])
def test_a_fill_value_in_a_sample_and_in_the_statistics(tmp_path, fill):
    write_samples(tmp_path)
    fields = sample_arrays(1)["climate/data"]
    fields[7, 11, 5] = fill
    path = write_hdf(tmp_path / "train" / "data-2000-01-01-00-1.h5", {**sample_arrays(1), "climate/data": fields})
    read = data.reader(data.list_samples(settings(tmp_path), "train"), settings(tmp_path))
    with pytest.raises(UserError, match=r"holds -?(1|9\.969)e\+\d\d in channel 5"):
        read(str(path), data.sample_format(read).empty(1))
    assert list(batches(tmp_path, on_bad_sample="skip").skipped) == [str(path)]
    with pytest.raises(UserError, match=r"fill values .* in channel 5"):
        summarize.channel_sums(str(path))
    write_stats(tmp_path, *sorted((0.0, fill)))
    with pytest.raises(UserError, match=r"stats\.h5: channel 0 has minimum .* one of them a fill value"):
        batches(tmp_path)


def test_a_range_of_one_rounding_step(tmp_path):
    low = np.float32(101325.0)
    with pytest.raises(UserError, match=r"channel 0 has minimum 101325 .*cannot be normalised"):
        data.read_normalisation(write_stats(tmp_path, low, np.nextafter(low, np.float32(np.inf))), ALL)
    data.read_normalisation(write_stats(tmp_path, 101325.0, 101335.0), ALL)


@pytest.mark.parametrize(
    ("stats", "labels", "message"),
    [
        ((40.0, 48.5), None, "has a median of 1."),
        ((0.0, 1e6), None, "of the range of channel .*: is a fill value in the statistics"),
        ((0.0, 100.0), 0, "every label is 0"),
        ((0.0, 100.0), 2, "every label is 2"),
    ],
)
def test_what_can_hardly_be_is_said_once(tmp_path, capsys, stats, labels, message):
    write_samples(tmp_path)
    write_stats(tmp_path, *stats)
    if labels is not None:
        change(tmp_path, "climate/labels_0", lambda values: np.full_like(values, labels))
    for _ in range(2):
        batches(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_good_samples_pass_without_a_word(tmp_path, capsys):
    write_samples(tmp_path)
    batches(tmp_path)
    formats.find((str(tmp_path / "validation"),), ALL, "")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["large", "small"])
def test_a_sample_without_labels_is_explained(tmp_path, form):
    arrays = {"climate/data": sample_arrays(1)["climate/data"]}
    if form == "small":
        arrays = {"climate/data": np.ascontiguousarray(np.moveaxis(arrays["climate/data"], 2, 0))}
    path = write_hdf(tmp_path / "data-1.h5", arrays)
    reader = data.Reader((HEIGHT, WIDTH), ALL, data.Normalisation.none(16))
    with pytest.raises(
        UserError, match=r"data-1\.h5: has no labels, neither dataset 'climate/labels_0' nor, .*'climate/la"
    ):
        reader(str(path), data.sample_format(reader).empty(1))


def test_two_datasets_of_labels(tmp_path, capsys):
    arrays = sample_arrays(1)
    path = write_hdf(tmp_path / "data-1.h5", {**arrays, "climate/labels": 0 * arrays["climate/labels_0"]})
    reader = data.Reader((HEIGHT, WIDTH), ALL, data.Normalisation.none(16))
    out = data.sample_format(reader).empty(1)
    reader(str(path), out)
    np.testing.assert_array_equal(out[1][0], arrays["climate/labels_0"])
    assert "has the labels 'climate/labels_0' and 'climate/labels'" in capsys.readouterr().err
