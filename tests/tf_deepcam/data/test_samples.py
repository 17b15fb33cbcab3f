"""Reading samples: values, layouts, and every way in which files can be wrong."""

import numpy as np
import pytest

from common.errors import UserError
from common.training.settings import BatchSizes
from tests.helpers import write_hdf
from tests.tf_deepcam.samples import HEIGHT, WIDTH, sample_arrays, write_samples, write_stats
from tf_deepcam.config import DataSettings
from tf_deepcam.data import samples as data
from tf_deepcam.data.sample_batches import sample_batches

ALL = tuple(range(16))


def read(path, channels=ALL, low=0.0, high=100.0) -> tuple:
    normalisation = data.read_normalisation(write_stats(path.parent, low, high), channels)
    reader = data.Reader((HEIGHT, WIDTH), channels, normalisation)
    out = data.sample_format(reader).empty(1)
    reader(str(path), out)
    return out[0][0], out[1][0]


def with_value(fields: np.ndarray, value: float) -> np.ndarray:
    """The fields with one pixel of channel 5 changed."""
    fields = fields.copy()
    fields[7, 11, 5] = value
    return fields


@pytest.mark.parametrize("options", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("channels", [ALL, (3, 0, 15)])
def test_values_are_normalised_whatever_the_layout(tmp_path, options, channels):
    arrays = sample_arrays(1)
    fields, labels = read(write_hdf(tmp_path / "data-1.h5", arrays, **options), channels, 20.0, 70.0)
    np.testing.assert_allclose(fields, (arrays["climate/data"][..., list(channels)] - 20) / 50, atol=1e-6)
    np.testing.assert_array_equal(labels, arrays["climate/labels_0"])
    assert (fields.dtype, labels.dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", ">i4", "f4", "f8"])
def test_labels_of_any_type_that_holds_whole_numbers(tmp_path, kind):
    arrays = sample_arrays(2)
    expected = arrays["climate/labels_0"]
    _, labels = read(write_hdf(tmp_path / "data-1.h5", {**arrays, "climate/labels_0": expected.astype(kind)}))
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("climate/labels_0", lambda a: a + 1, r"dataset 'climate/labels_0' holds 3; classes are 0 to 2"),
        ("climate/labels_0", lambda a: a - 1, r"holds -1; classes are 0 to 2"),
        ("climate/labels_0", lambda a: a[:-1], r"has shape \(31, 48\), \(32, 48\) expected, as"),
        ("climate/labels_0", lambda a: a + 0.5, r"holds values that are not whole numbers; classes are 0 to 2"),
        ("climate/labels_0", lambda a: a * np.nan, r"holds values that are not whole numbers"),
        ("climate/labels_0", lambda a: a.astype("S1"), r"holds \|S1, but floating point or integer is needed"),
        (
            "climate/data",
            lambda a: with_value(a, np.nan),
            r"holds 1 NaN or infinite values in channel 5: repair or remove",
        ),
        ("climate/data", lambda a: with_value(a, -np.inf), r"holds 1 NaN or infinite values in channel 5"),
        ("climate/data", lambda a: a[..., :15], r"has shape \(32, 48, 15\), \(32, 48, 16\) expected, as"),
        ("climate/data", None, r"dataset 'climate/data' is missing"),
    ],
)
def test_what_is_wrong_with_a_sample_is_named(tmp_path, name, change, message):
    arrays = sample_arrays(3)
    arrays = {key: change(array) if key == name and change else array for key, array in arrays.items()}
    if change is None:
        del arrays[name]
    with pytest.raises(UserError, match=rf"data-1\.h5: .*{message}"):
        read(write_hdf(tmp_path / "data-1.h5", arrays))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "maxval",
            [1.0] * 3 + [0.0] + [1.0] * 12,
            r"channel 3 has minimum 0 and maximum 0, so it cannot be normalised",
        ),
        ("minval", [0.0] * 5 + [np.nan] + [0.0] * 10, r"dataset 'climate/minval': channel 5 is nan"),
        ("maxval", [1.0] * 9 + [np.inf] + [1.0] * 6, r"dataset 'climate/maxval': channel 9 is inf"),
        ("maxval", [1.0] * 15, r"dataset 'climate/maxval' has 15 values, 16 expected"),
    ],
)
def test_statistics_that_cannot_be_used_name_the_channel(tmp_path, name, values, message):
    arrays = {"minval": np.zeros(16, np.float32), "maxval": np.ones(16, np.float32), name: np.float32(values)}
    path = write_hdf(tmp_path / "stats.h5", {f"climate/{key}": array for key, array in arrays.items()})
    with pytest.raises(UserError, match=message):
        data.read_normalisation(path, ALL)


def test_a_bad_channel_that_is_not_used_is_no_error(tmp_path):
    low, high = np.zeros(16, np.float32), np.ones(16, np.float32)
    high[3] = 0.0
    path = write_hdf(tmp_path / "stats.h5", {"climate/minval": low, "climate/maxval": high})
    np.testing.assert_array_equal(data.read_normalisation(path, (0, 2)).scale, [1, 1])


def test_stats_are_found_in_the_root_and_in_train(tmp_path):
    with pytest.raises(UserError, match=r"stats\.h5: no such file.*summarize"):
        data.find_stats(str(tmp_path))
    inner = write_stats(tmp_path / "train")
    assert data.find_stats(str(tmp_path)) == inner
    outer = write_stats(tmp_path)
    assert data.find_stats(str(tmp_path)) == outer


def test_batches_hold_each_sample_s_own_labels(tmp_path):
    write_samples(tmp_path, 5, 1)
    settings = DataSettings(data_dir_prefix=str(tmp_path))
    (batches, _), _, _ = sample_batches(settings, BatchSizes(2, 2, 2, 2), seed=1, threads=2)
    seen = 0
    for fields, labels in batches.dataset():
        raw = fields.numpy() * 100
        expected = np.where(raw[..., 8] < 35, 1, np.where(raw[..., 0] > 60, 2, 0))
        assert np.mean(expected == labels.numpy()) > 0.999  # rounding at the thresholds
        seen += len(labels)
    assert seen == 4


def test_sizes_that_the_network_cannot_take_are_refused(tmp_path):
    path = write_hdf(tmp_path / "data-1.h5", sample_arrays(1, 40, 48))
    with pytest.raises(UserError, match="has 40 x 48 pixels; the network needs multiples of 16"):
        data.sample_shape(str(path))


def test_large_but_finite_values_are_not_taken_for_bad_ones(tmp_path):
    arrays = sample_arrays(1)
    arrays["climate/data"][..., 2] = 3e38  # their sum overflows
    fields, _ = read(write_hdf(tmp_path / "data-1.h5", arrays), low=0.0, high=1.0)
    assert np.isfinite(fields).all()


def test_bad_samples_are_left_out_if_that_is_asked_for(tmp_path):
    write_samples(tmp_path, 5, 3)
    for name in ("train/data-2000-01-02-00-1.h5", "validation/data-2000-01-07-00-1.h5"):
        arrays = sample_arrays(9)
        (tmp_path / name).unlink()
        write_hdf(tmp_path / name, {**arrays, "climate/data": with_value(arrays["climate/data"], np.nan)})
    settings = DataSettings(data_dir_prefix=str(tmp_path), on_bad_sample="skip")
    (training, validation), _, skipped = sample_batches(settings, BatchSizes(1, 1, 1, 1), seed=1, threads=2)
    assert (training.samples, validation.samples, len(skipped)) == (4, 2, 2)
    for path, why in skipped.items():
        assert path in why
        assert "NaN or infinite values in channel 5" in why
    assert sum(len(labels) for _, labels in training.dataset()) == 4
