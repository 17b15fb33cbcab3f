"""Made-up scenes: the real format, the same again for the same seed, and no easy way to solve them."""

import h5py
import numpy as np
import pytest

from cloudmask import baseline
from cloudmask.config import DataSettings, SynthesizeSettings
from cloudmask.data import scenes as data
from cloudmask.tools import synthesize
from common.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    settings = SynthesizeSettings(scenes=6, folder=str(path), seed=3)
    assert synthesize.main(settings, DataSettings(image_h=300, image_w=375, patch_size=64)) == 0
    return path


def test_files_have_the_archive_s_names_and_datasets(folder):
    paths = sorted(folder.iterdir())
    assert len(paths) == 6
    for path in paths:
        assert path.match(data.PATTERN)
        with h5py.File(path) as file:
            assert {name: (item.shape, item.dtype.str) for name, item in file.items()} == {
                "refs": ((300, 375, 6), "<f4"),
                "bts": ((300, 375, 3), "<f4"),
                "bayes": ((300, 375, 1), "|u1"),
            }


def test_values_are_plausible(folder):
    clouds = []
    for path in folder.iterdir():
        with h5py.File(path) as file:
            refs, bts, bayes = (file[name][:] for name in ("refs", "bts", "bayes"))
        assert np.nanmin(bts) >= 180
        assert np.nanmax(bts) <= 345
        assert 0 <= np.nanmin(refs) <= np.nanmax(refs) < 1.2 if np.isfinite(refs).any() else True
        assert 0 < np.isnan(bts).mean() < 0.35  # the swath's edges
        clouds.append((bayes > 0).mean())
    assert 0.3 < np.mean(clouds) < 0.75


def test_a_scene_depends_on_seed_and_number_only():
    first, again, other = (synthesize.make_scene(*key, 80, 100) for key in ((1, 5), (1, 5), (2, 5)))
    np.testing.assert_array_equal(first.bts, again.bts)
    np.testing.assert_array_equal(first.bayes, again.bayes)
    assert not np.array_equal(first.bayes, other.bayes)


def test_a_threshold_cannot_solve_them(folder):
    settings = DataSettings(image_h=300, image_w=375, patch_size=64)
    rule = baseline.fit(data.list_scenes(str(folder)), settings)
    assert 0.5 < rule.training_accuracy < 0.9


def test_a_second_call_keeps_what_is_there(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    settings = SynthesizeSettings(scenes=6, folder=str(folder), seed=3)
    synthesize.main(settings, DataSettings(image_h=300, image_w=375, patch_size=64))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "6 were there already" in capsys.readouterr().out


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"synthesize\.folder is not set"):
        synthesize.main(SynthesizeSettings(), DataSettings())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        synthesize.main(SynthesizeSettings(folder=str(tmp_path / "file" / "x")), DataSettings())
