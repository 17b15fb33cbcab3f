"""Made-up scenes: the real format, the same again for the same seed, and no easy way to solve them."""

import h5py
import numpy as np
import pytest

from cloudmask import baseline
from cloudmask.config import DataSettings
from cloudmask.data import scenes as data
from cloudmask.data.listing import list_scenes
from cloudmask.sen3.names import SCENE
from cloudmask.tools import made_scenes, synthesize
from common.errors import UserError
from tests.helpers import errors, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    assert synthesize.main(synthesize.Collection(str(path), scenes=6, seed=3, height=300, width=375)) == 0
    return path


def test_files_have_the_archive_s_names_and_datasets(folder):
    paths = sorted(folder.rglob("*.hdf"))
    assert len(paths) == 6
    assert {path.parent.name for path in paths} <= {"day", "night"}
    for path in paths:
        assert path.match(SCENE.patterns[0])
        with h5py.File(path) as file:
            assert {name: (item.shape, item.dtype.str) for name, item in file.items()} == {
                "refs": ((300, 375, 6), "<f8"),
                "bts": ((300, 375, 3), "<f4"),
                "bayes": ((300, 375, 1), "<f8"),
                "truth": ((300, 375, 1), "|u1"),
                "rads": ((300, 375, 6), "<f4"),
                "summary": ((300, 375, 1), "<f8"),
            }
            assert all(item.id.get_offset() is not None for item in file.values())


def test_values_are_plausible(folder):
    clouds = []
    for path in folder.rglob("*.hdf"):
        with h5py.File(path) as file:
            refs, bts, bayes, summary = (file[name][:] for name in ("refs", "bts", "bayes", "summary"))
        measured = bts > 0
        assert bts[measured].min() >= 180
        assert bts[measured].max() <= 345
        assert 0 <= refs.min() <= np.percentile(refs, 95) < 1.3
        assert 0 < (~measured).mean() < 0.35  # the swath's edges
        assert set(np.unique(bayes)) | set(np.unique(summary)) == {0.0, 255.0}
        assert 0.5 < np.mean((bayes > 0) == (summary > 0)) < 1  # an operational mask makes mistakes
        clouds.append((bayes > 0).mean())
    assert 0.3 < np.mean(clouds) < 0.75


def test_reflectances_grow_without_bound_at_the_terminator():
    scenes = (made_scenes.make_scene(0, number, 240, 300) for number in range(40))
    scene = next(scene for scene in scenes if scene.sun.min() < 89 < 91 < scene.sun.max())
    near, far = (scene.sun > 89.95) & (scene.sun < 90), scene.sun < 88
    assert np.nanmax(scene.refs[near]) > 3 > np.nanmax(scene.refs[far])
    assert np.nanmax(scene.refs[scene.sun >= 90]) < 0.03


def test_the_small_form_is_what_was_measured(tmp_path):
    assert synthesize.main(synthesize.Collection(str(tmp_path), 1, "small", seed=3, height=300, width=375)) == 0
    (path,) = tmp_path.glob("*.hdf")
    with h5py.File(path) as file:
        kinds = {name: item.dtype.str for name, item in file.items()}
        assert kinds == {"refs": "<f4", "bts": "<f4", "bayes": "|u1", "truth": "|u1", "confidence": "<u2"}
        assert np.isnan(file["bts"][:]).any()


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")
@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_products_are_opened_by_xarray(tmp_path, engine):
    """And hold what the same scene's file holds, but for the packing's steps."""
    xarray = pytest.importorskip("xarray")
    for form in ("sen3", "dataset"):
        folder = str(tmp_path / form)
        assert synthesize.main(synthesize.Collection(folder, 1, form, seed=1, height=96, width=120)) == 0
    (product,) = tmp_path.rglob("*.SEN3")
    (scene,) = tmp_path.rglob("*.hdf")
    with h5py.File(scene) as file:
        kelvin, flags = file["bts"][..., 1], file["bayes"][..., 0]
    with xarray.open_dataset(product / "S8_BT_in.nc", engine=engine) as opened:
        assert opened["S8_BT_in"].dims == ("rows", "columns")
        np.testing.assert_allclose(np.nan_to_num(opened["S8_BT_in"].values), kelvin, atol=0.0051)
    with xarray.open_dataset(product / "flags_in.nc", engine=engine, mask_and_scale=False) as opened:
        np.testing.assert_array_equal(opened["bayes_in"].values > 0, flags > 0)
        assert opened["confidence_in"].attrs["flag_meanings"].split()[14] == "summary_cloud"
    for path in product.iterdir():
        with xarray.open_dataset(path, engine=engine) as opened:
            opened.load()
    shape = DataSettings(image_h=96, image_w=120, patch_size=64)
    read, direct = (data.read_scene(str(path), shape) for path in (scene, product))
    np.testing.assert_allclose(direct.image[..., 6:], read.image[..., 6:], atol=5e-4)
    np.testing.assert_array_equal(direct.cloud, read.cloud)


def test_a_scene_depends_on_seed_and_number_only():
    first, again, other = (made_scenes.make_scene(*key, 80, 100) for key in ((1, 5), (1, 5), (2, 5)))
    np.testing.assert_array_equal(first.bts, again.bts)
    np.testing.assert_array_equal(first.bayes, again.bayes)
    assert not np.array_equal(first.bayes, other.bayes)


def test_a_threshold_cannot_solve_them(folder):
    settings = DataSettings(image_h=300, image_w=375, patch_size=64)
    rule = baseline.fit(list_scenes(str(folder)), settings)
    assert 0.5 < rule.training_accuracy < 0.9


def test_a_second_call_keeps_what_is_there(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.hdf")}
    synthesize.main(synthesize.Collection(str(folder), scenes=6, seed=3, height=300, width=375))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.hdf")} == before
    assert "6 were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--folder is missing: python -m cloudmask synthesize --folder DIR --scenes 16"),
        (("synthesize.folder=x",), "takes no 'synthesize.folder=x': python -m cloudmask synthesize --folder DIR"),
        (("--folder", "x", "--scenes", "0"), "argument --scenes: must be at least 1 (found: 0)"),
        (("--folder", "x", "--label-error", "0.5"), "--label-error: must be at least 0 and below 0.5 (found: 0.5)"),
        (("--folder", "x", "--form", "sen4"), "argument --form: invalid choice: 'sen4'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, words, message):
    output = run("-m", "cloudmask", "synthesize", *words, cwd=tmp_path)
    (line,) = errors(output.stdout)
    assert message in line
    assert output.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be created"):
        synthesize.main(synthesize.Collection(str(tmp_path / "file" / "x")))
