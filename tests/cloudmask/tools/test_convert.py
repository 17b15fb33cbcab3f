"""Products to files of the benchmark's kind, and the settings by which that is done."""

import h5py
import numpy as np
import pytest

from cloudmask import config
from cloudmask.sen3.conversion import convert as converted
from cloudmask.tools import convert, words
from common.errors import UserError
from tests.cloudmask.sen3.products import NAME, add_stripe_b, product
from tests.helpers import HEIGHT, PATCH, WIDTH

SIZE = [f"data.image_h={HEIGHT}", f"data.image_w={WIDTH}", f"data.patch_size={PATCH}"]


def settings(*overrides: str):
    return config.load(None, [*SIZE, *overrides]).data


def test_a_path_may_have_an_equals_sign():
    given = ["/data/year=2026", "data.stripe=b", "./month=1/X.SEN3", "data.calibration=[1, 2]"]
    assert words.sort(given) == (
        ["/data/year=2026", "./month=1/X.SEN3"],
        ["data.stripe=b", "data.calibration=[1, 2]"],
    )


def test_what_is_only_named_like_a_product_does_not_keep_the_others_from_being_converted(tmp_path, capsys):
    folder, target = product(tmp_path / "in"), tmp_path / "out"
    (tmp_path / "in" / NAME.replace("S3B", "S3A")).write_text("no folder")
    with pytest.raises(UserError, match="1 of 2 products could not be converted"):
        convert.main([str(folder.parent)], str(target), settings())
    assert [path.name for path in target.iterdir()] == [f"{folder.stem}.hdf"]
    assert "NT_005.SEN3: is named like a product but is not a folder; unpack it, or" in capsys.readouterr().out
    with pytest.raises(UserError, match="1 of 1 products could not be converted"):
        convert.main([str(tmp_path / "in" / NAME.replace("S3B", "S3A"))], str(target), settings())


def test_settings_say_which_stripe_and_factors(tmp_path):
    folder, target = product(tmp_path / "in"), tmp_path / "out"
    add_stripe_b(folder)
    chosen = settings("data.sen3=physical", "data.stripe=b", "data.calibration=[1, 1, 1, 2, 1, 1]")
    assert convert.main([str(folder.parent)], str(target), chosen) == 0
    factors = (1.0, 1.0, 1.0, 2.0, 1.0, 1.0)
    expected = converted(str(folder), "physical", (HEIGHT, WIDTH), np.float32, stripe="b", calibration=factors)
    with h5py.File(target / f"{folder.stem}.hdf") as file:
        np.testing.assert_array_equal(file["refs"][()], expected.refs)
        assert (file.attrs["like"], file.attrs["stripe"]) == ("physical", "b")
        assert file.attrs["calibration"].tolist() == [1, 1, 1, 2, 1, 1]
