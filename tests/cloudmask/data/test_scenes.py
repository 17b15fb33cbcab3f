"""Scenes to images, labels and weights: the reference's numbers, missing data, both grids, bad files."""

import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data import scenes as data
from cloudmask.data.listing import list_scenes
from cloudmask.data.patches import read_patches
from common.data.batches import DataFile
from common.errors import UserError
from tests.helpers import HEIGHT, PATCH, WIDTH, scene_arrays, write_hdf

SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)


@pytest.mark.parametrize("missing", ["mask", "reference"])
def test_the_training_patches_are_the_reference_s(golden, golden_scene, missing):
    images, cloud, weight = read_patches(golden_scene, DataSettings(missing=missing))
    assert images.shape == (20, 256, 256, 9)
    np.testing.assert_allclose(images.mean((1, 2)), golden["train_patch_mean"], atol=1e-6)
    np.testing.assert_array_equal(images[:, :2, :2], golden["train_patch_corner"])
    np.testing.assert_allclose(cloud.mean((1, 2, 3)), golden["train_patch_cloud_fraction"], atol=1e-7)
    assert weight.min() == 1


def test_the_split_is_the_reference_s(golden):
    scenes = [DataFile(f"S3A_{number:03d}.hdf", 0, 0) for number in range(20)]
    training, held_out = data.split(scenes, DataSettings())
    assert [scene.name for scene in training] == golden["split_train"].tolist()
    assert [scene.name for scene in held_out] == golden["split_test"].tolist()


def expected(arrays: dict) -> np.ndarray:
    return np.concatenate([arrays["refs"] - 0.5, (arrays["bts"] - 270.0) / 22.0], axis=-1)


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_a_scene_is_normalised_inside_its_padding(tmp_path, options):
    arrays = scene_arrays(1)
    path = write_hdf(tmp_path / "S3A_1.hdf", arrays, **options)
    image, weight, cloud = data.read_scene(str(path), SETTINGS, pad=(1, 2, 3, 4))
    assert image.shape == (1, HEIGHT + 3, WIDTH + 7, 9)
    np.testing.assert_allclose(image[0, 1:-2, 3:-4], expected(arrays), atol=1e-6)
    image[0, 1:-2, 3:-4] = 0
    assert not image.any()
    np.testing.assert_array_equal(cloud, arrays["bayes"][..., 0] != 0)
    assert weight.min() == 1


def test_patches_and_scene_agree_on_where_pixels_are(tmp_path):
    path = str(write_hdf(tmp_path / "S3A_1.hdf", scene_arrays(2)))
    image, _, cloud = data.read_scene(path, SETTINGS)
    patches, patch_cloud, _ = read_patches(path, SETTINGS)
    assert patches.shape == (6, PATCH, PATCH, 9)
    for number, (row, column) in enumerate((r, c) for r in (4, 36) for c in (4, 36, 68)):
        place = np.s_[row : row + PATCH, column : column + PATCH]
        np.testing.assert_array_equal(patches[number], image[0][place])
        np.testing.assert_array_equal(patch_cloud[number, ..., 0], cloud[place])


@pytest.mark.parametrize("fill", [np.nan, -32768.0, 1e10])
def test_missing_values_become_zero_and_pixels_outside_the_swath_lose_their_weight(tmp_path, fill):
    arrays = scene_arrays(3)
    arrays["refs"][10, 20, 2] = fill  # one reflectance
    arrays["bts"][11, 21, 1] = fill  # one temperature of three
    arrays["bts"][12, 22] = fill  # all temperatures
    path = str(write_hdf(tmp_path / "S3A_1.hdf", arrays))
    image, weight, _ = data.read_scene(path, SETTINGS)
    assert image[0, 10, 20, 2] == 0
    assert image[0, 11, 21, 7] == 0
    assert image[0, 12, 22, 6:].tolist() == [0, 0, 0]
    assert np.argwhere(weight == 0).tolist() == [[12, 22]]
    whole = expected(arrays)
    for pixel in ((10, 20, 2), (11, 21, 7), (12, 22, slice(6, 9))):
        whole[pixel] = 0
    np.testing.assert_allclose(image[0], whole, atol=1e-6)


def test_any_one_temperature_gives_a_pixel_its_weight(tmp_path):
    arrays = scene_arrays(3)
    for column in range(4):  # of the last pixel none is measured
        absent = [channel for channel in range(3) if channel != column]
        arrays["bts"][5, 7 + column, absent] = np.nan
    _, weight, _ = data.read_scene(str(write_hdf(tmp_path / "S3A_1.hdf", arrays)), SETTINGS)
    assert weight[5, 7:11].tolist() == [1, 1, 1, 0]


def test_the_ends_of_the_valid_ranges_are_valid(tmp_path):
    arrays = scene_arrays(3)
    arrays["refs"][5, 7:11, 0] = (-1.0, 10.0, -1.0001, 10.0001)
    arrays["bts"][5, 7:11, 0] = (100.0, 400.0, 99.99, 400.01)
    image = data.read_scene(str(write_hdf(tmp_path / "S3A_1.hdf", arrays)), SETTINGS).image[0]
    np.testing.assert_allclose(image[5, 7:11, 0], [-1.5, 9.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(image[5, 7:11, 6], [-170 / 22, 130 / 22, 0, 0], atol=1e-5)


def test_reflectances_on_the_half_kilometre_grid_are_averaged(tmp_path):
    arrays = scene_arrays(4)
    rng = np.random.default_rng(0)
    fine = rng.random((2 * HEIGHT, 2 * WIDTH, 6), dtype=np.float32)
    fine[20:22, 40:42, 0] = np.nan  # the four pixels of one: nothing measured
    fine[30, 50, 1] = np.nan  # one of four: the mean of the other three
    path = str(write_hdf(tmp_path / "S3A_1.hdf", {**arrays, "refs": fine}))
    image = data.read_scene(path, SETTINGS)[0][0]
    quarters = fine.reshape(HEIGHT, 2, WIDTH, 2, 6).transpose(0, 2, 4, 1, 3).reshape(HEIGHT, WIDTH, 6, 4)
    assert image[10, 20, 0] == 0
    assert image[15, 25, 1] == pytest.approx(np.nanmean(quarters[15, 25, 1]) - 0.5, abs=1e-6)
    known = ~np.isnan(quarters).any(-1)
    np.testing.assert_allclose(image[..., :6][known], quarters.mean(-1)[known] - 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bts": None}, "dataset 'bts' is missing"),
        ({"refs": None}, "dataset 'refs' is missing"),
        (
            {"bayes": None},
            r"has no labels for data\.labels: bayes \(dataset 'bayes' is missing.*: without labels",
        ),
        ({"bts": np.zeros((HEIGHT, WIDTH, 4), np.float32)}, r"'bts' has shape \(72, 104, 4\), \(72, 104, 3\) expected"),
        ({"bts": np.zeros((HEIGHT, WIDTH), np.float32)}, r"'bts' has shape \(72, 104\)"),
        ({"refs": np.zeros((HEIGHT, 99, 6), np.float32)}, r"'refs' has shape \(72, 99, 6\).*0\.5 km grid"),
        ({"refs": np.zeros((HEIGHT, WIDTH, 6), np.int32)}, "'refs' holds int32, but floating point is needed"),
        ({"bayes": np.full((HEIGHT, WIDTH, 1), np.nan)}, "'bayes' holds NaN or infinite labels"),
        ({"bayes": np.zeros((HEIGHT, WIDTH, 1), "S1")}, r"'bayes' holds \|S1, but floating point or integer is needed"),
        ({"bayes": np.zeros((HEIGHT, 50, 1), np.uint8)}, r"'bayes' has shape \(72, 50, 1\)"),
    ],
)
def test_a_bad_dataset_is_named_with_what_was_found(tmp_path, change, message):
    arrays = {name: array for name, array in {**scene_arrays(5), **change}.items() if array is not None}
    path = write_hdf(tmp_path / "S3A_1.hdf", arrays)
    with pytest.raises(UserError, match=rf"S3A_1\.hdf: dataset {message}|S3A_1\.hdf: {message}"):
        read_patches(str(path), SETTINGS)


def test_a_scene_of_another_size_is_refused(tmp_path):
    path = write_hdf(tmp_path / "S3A_1.hdf", scene_arrays(6, 80, 104))
    with pytest.raises(UserError, match=r"has shape \(80, 104, 3\), \(72, 104, 3\) expected \(data\.image_h"):
        read_patches(str(path), SETTINGS)


def test_a_truncated_scene_is_an_error(tmp_path):
    path = write_hdf(tmp_path / "S3A_1.hdf", scene_arrays(7))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"S3A_1\.hdf.*copy it again"):
        read_patches(str(path), SETTINGS)


def test_a_scene_without_labels_can_be_masked_but_not_trained_on(tmp_path):
    arrays = scene_arrays(8)
    del arrays["bayes"]
    path = str(write_hdf(tmp_path / "S3A_1.hdf", arrays))
    assert data.read_scene(path, SETTINGS)[2] is None


def test_a_split_that_leaves_a_side_empty_is_an_error():
    scenes = [DataFile("S3A_1.hdf", 0, 0)]
    with pytest.raises(UserError, match=r"1 scenes split at data\.train_split 0\.8 leave one side empty"):
        data.split(scenes, SETTINGS)


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8"])
def test_labels_of_any_numeric_type_are_cloud_above_0(tmp_path, kind):
    arrays = scene_arrays(3)
    expected = arrays["bayes"][..., 0] > 0
    flags = np.where(arrays["bayes"] > 0, 100, 0).astype(kind)
    path = str(write_hdf(tmp_path / "S3A_1.hdf", {**arrays, "bayes": flags}))
    np.testing.assert_array_equal(data.read_scene(path, SETTINGS).cloud, expected)


REFERENCE = SETTINGS.model_copy(update={"missing": "reference"})


def real_scene(seed: int = 9) -> dict:
    """With the data set's holes: nothing measured in the first columns, a pixel lost by each instrument alone."""
    arrays = scene_arrays(seed)
    for name in ("refs", "bts", "rads"):
        arrays[name][:, :7] = 0.0
    arrays["refs"][30, 40] = 0.0
    arrays["bts"][31, 41] = 0.0
    arrays["refs"][32, 42, :5] = 0.0  # five of six: a dark pixel, not a missing one
    arrays["refs"][33, 43] = 40.0  # near the terminator
    return arrays


def test_the_data_set_s_files_hold_doubles_and_more_than_is_read():
    arrays = scene_arrays(1)
    kinds = {name: array.dtype.str for name, array in arrays.items()}
    assert kinds == {"refs": "<f8", "bts": "<f4", "bayes": "<f8", "rads": "<f4", "summary": "<f8"}


@pytest.mark.parametrize("options", [{}, {"chunks": (50, 60, 1), "compression": "gzip"}])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_the_reference_takes_every_pixel_as_it_comes(tmp_path, kind, options):
    arrays = {name: array.astype(kind) for name, array in real_scene().items()}
    path = str(write_hdf(tmp_path / "S3A_1.hdf", arrays, **options))
    scene = data.read_scene(path, REFERENCE)
    np.testing.assert_allclose(scene.image[0], expected(arrays), rtol=1e-6, atol=1e-6)
    assert scene.image[0, 0, 0].tolist() == pytest.approx([-0.5] * 6 + [-270 / 22] * 3)
    assert scene.counted(REFERENCE).min() == 1
    assert (scene.measured == 0).sum() == 7 * HEIGHT + 1
    images, _, measured = read_patches(path, REFERENCE)
    np.testing.assert_array_equal(images[0], scene.image[0, 4:36, 4:36])
    np.testing.assert_array_equal(measured[0, ..., 0], scene.measured[4:36, 4:36])


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_what_was_not_measured_is_masked(tmp_path, kind):
    arrays = {name: array.astype(kind) for name, array in real_scene().items()}
    scene = data.read_scene(str(write_hdf(tmp_path / "S3A_1.hdf", arrays)), SETTINGS)
    whole = expected(arrays)
    whole[:, :7] = 0
    whole[30, 40, :6], whole[31, 41, 6:], whole[33, 43, :6] = 0, 0, 0
    np.testing.assert_allclose(scene.image[0], whole, atol=1e-5)
    assert (scene.counted(SETTINGS) == scene.measured).all()
    assert (scene.measured == 0).sum() == 7 * HEIGHT + 1


@pytest.mark.parametrize("name", ["refs", "bts"])
def test_nan_makes_the_reference_s_way_impossible(tmp_path, name):
    arrays = scene_arrays(2)
    arrays[name][40, 50, 1] = np.nan
    path = str(write_hdf(tmp_path / "S3A_1.hdf", arrays))
    with pytest.raises(UserError, match=rf"dataset '{name}' holds NaN or infinite values.*set data\.missing: mask"):
        data.read_scene(path, REFERENCE)


def test_scenes_of_both_satellites_are_found_in_their_folders(tmp_path):
    for name in ("day/S3A_1.hdf", "night/S3B_2.hdf", "night/S2A_3.hdf", "readme.hdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [scene.name for scene in list_scenes(str(tmp_path))] == ["S3A_1.hdf", "S3B_2.hdf"]
