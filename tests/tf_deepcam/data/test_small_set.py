"""The form of the small public set: other names, channels first, and one dataset of statistics."""

import numpy as np
import pytest

from common.errors import UserError
from tests.helpers import write_hdf
from tests.tf_deepcam.samples import HEIGHT, WIDTH, sample_arrays
from tf_deepcam.data import samples
from tf_deepcam.tools import summarize

ALL = tuple(range(16))
STATS = np.stack([np.arange(16) + 5.0, np.arange(16) + 10.0, np.arange(16) * 1.0, np.full(16, 2.0)], axis=1)


def small(arrays: dict) -> dict:
    return {
        "climate/data": np.ascontiguousarray(np.moveaxis(arrays["climate/data"], 2, 0)),
        "climate/labels": arrays["climate/labels_0"],
    }


def read(path, normalisation, channels=ALL) -> tuple:
    shape = samples.sample_shape(str(path))
    reader = samples.Reader(shape, channels, normalisation)
    out = samples.sample_format(reader).empty(1)
    reader(str(path), out)
    return out[0][0], out[1][0]


@pytest.mark.parametrize("channels", [ALL, (3, 0, 15)])
@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_a_sample_is_the_same_in_both_forms(tmp_path, channels, options):
    arrays = sample_arrays(1)
    normalisation = samples.Normalisation.none(len(channels))
    of_small = read(write_hdf(tmp_path / "data-1.h5", small(arrays), **options), normalisation, channels)
    np.testing.assert_array_equal(of_small[0], arrays["climate/data"][..., list(channels)])
    np.testing.assert_array_equal(of_small[1], arrays["climate/labels_0"])


def test_both_forms_have_the_same_statistics(tmp_path):
    arrays = sample_arrays(2)
    large = write_hdf(tmp_path / "data-1.h5", arrays)
    of_small = summarize.channel_sums(str(write_hdf(tmp_path / "data-2.h5", small(arrays))))
    # Not to the last bit: one is added up 16 rows at a time, the other as a whole.
    np.testing.assert_allclose(of_small, summarize.channel_sums(str(large)), rtol=1e-12)


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (STATS[:, ::-1], "channel 0: mean 2, maximum 0, minimum 10 and standard deviation 5 are no statistics"),
        (np.where(np.arange(4) == 1, np.inf, STATS), "channel 0: mean 5, maximum inf, minimum 0"),
        (STATS.T, r"has shape \(4, 16\), \(16, 4\) expected"),
    ],
)
def test_columns_in_another_order_are_refused(tmp_path, stats, message):
    path = write_hdf(tmp_path / "stats.h5", {"climate/stats": np.ascontiguousarray(stats, np.float32)})
    with pytest.raises(UserError, match=message):
        samples.read_normalisation(path, ALL)


def test_a_missing_dataset_is_said_with_what_its_group_contains(tmp_path):
    arrays = sample_arrays(1)
    path = write_hdf(tmp_path / "data-1.h5", {"climate/fields": arrays["climate/data"]})
    with pytest.raises(UserError, match=r"'climate/data' is missing \('climate' contains: fields\)"):
        samples.sample_shape(str(path))


def test_the_first_file_is_not_compared_with_itself(tmp_path):
    arrays = sample_arrays(1)
    arrays["climate/labels_0"] = arrays["climate/labels_0"][:-1]
    with pytest.raises(UserError, match=rf"has shape \({HEIGHT - 1}, {WIDTH}\), \({HEIGHT}, {WIDTH}\) expected"):
        read(write_hdf(tmp_path / "data-1.h5", arrays), samples.Normalisation.none(16))
