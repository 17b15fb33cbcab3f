"""Masks in every form, and masks of others beside them, as a user asks for them."""

from importlib.util import find_spec

import h5py
import matplotlib.image
import numpy as np
import pytest

from cloudmask import config, quicklook
from cloudmask.data.ancillary import Ancillary
from cloudmask.sen3.product import Flags
from common.config import render
from common.errors import UserError
from tests.cloudmask.sen3.products import NAME, frame, product
from tests.cloudmask.swaths import located, swath
from tests.helpers import GOLDEN, HEIGHT, TINY, WIDTH, records, run, write_hdf

EARLIER = NAME.replace("T1015", "T0915").replace("T1018", "T0918")
SHAPE = (96, 120)
CLOUD = np.s_[30:60, 40:80]


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Two products, of one of which another mask has the right half."""
    folder = tmp_path_factory.mktemp("forms")
    for name, seed in ((NAME, 1), (EARLIER, 2)):
        product(folder / "products", name, seed=seed)
    cold = (frame(seed=1).bts[..., 1] < 265).astype(np.uint8)
    cold[:, : WIDTH // 2] = 2
    path = write_hdf(folder / "cold" / f"{NAME.removesuffix('.SEN3')}.h5", {"cold": cold})
    with h5py.File(path, "r+") as file:
        file["cold"].attrs["_FillValue"] = np.uint8(2)
    forms = ["netcdf", "quicklook", *(["geotiff"] if find_spec("rasterio") else [])]
    settings = [*TINY, f"inference.model_file={GOLDEN / 'cloudmask_flat_layout.keras'}", "inference.pictures=0"]
    settings += [f"inference.inference_dir={folder}/products", f"output.folder={folder}/runs", "output.run_name=a"]
    settings += [f"inference.other_masks={folder}/cold", f"inference.output=[{','.join(forms)}]"]
    done = run("-m", "cloudmask", "infer", *settings)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout, forms


def test_each_form_is_a_file_a_scene(masked):
    folder, _, forms = masked
    endings = [".nc", ".png", *([".tif"] if "geotiff" in forms else [])]
    expected = {name.replace(".SEN3", ending) for name in (NAME, EARLIER) for ending in endings}
    assert {path.name for path in (folder / "runs" / "a" / "masks").iterdir()} == expected


def test_a_mask_of_others_is_a_row_in_the_tables(masked):
    folder, output, _ = masked
    assert (
        f"1 of 2 scenes have no mask in {folder}/cold, such as {EARLIER}: the scores of cold are of the others"
        in output
    )
    (found,) = records(folder / "runs" / "a", "inference")
    assert found["scores"]["cold"]["pixel_accuracy"] == 1
    assert found["strata"]["ocean"]["cold"]["pixels"] == HEIGHT * WIDTH / 2
    assert "cold" not in found["strata"]["land"]
    assert found["shares"]["cold"] == pytest.approx(0.25)
    report = (folder / "runs" / "a" / "report.md").read_text()
    assert "\n| cold | 1.0000 | 1.0000 |" in report
    assert "cold: of 25.00% of the pixels." in report
    assert "|  | cold |  | 1.0000 |" in report


@pytest.mark.parametrize(
    ("words", "forms"),
    [
        ("netcdf", ("netcdf",)),
        ("both", ("reference", "netcdf")),
        ("[both,geotiff,netcdf]", ("reference", "netcdf", "geotiff")),
    ],
)
def test_forms_are_one_word_or_a_list(words, forms):
    assert config.load(None, [f"inference.output={words}"]).inference.output == forms


@pytest.mark.parametrize(("words", "folders"), [("", ()), ("a", ("a",)), ("[a,b/masks]", ("a", "b/masks"))])
def test_folders_of_other_masks_are_none_one_or_a_list(words, folders, tmp_path):
    settings = config.load(None, [f"inference.other_masks={words}", "inference.output=both"])
    assert settings.inference.other_masks == folders
    (tmp_path / "config.yaml").write_text(render.dump(settings))
    assert config.load(str(tmp_path / "config.yaml")) == settings


@pytest.mark.parametrize("words", ["geotif", "[]", "3"])
def test_other_words_are_refused(words):
    with pytest.raises(UserError, match=r"override 'inference.output=.*': 'inference.output"):
        config.load(None, [f"inference.output={words}"])


def picture(path, zenith: float, latitude: float, longitude: float) -> np.ndarray:
    """The quick-look of a scene, [H, W, 3]: green below clear sky, land in its right half, a cloud, a lost edge."""
    image = np.full((*SHAPE, 9), -0.4, np.float32)
    image[..., 2] = -0.2
    image[CLOUD] = 0.3
    measured, cloud = np.ones(SHAPE, np.uint8), np.zeros(SHAPE, bool)
    measured[:, :10] = 0
    cloud[CLOUD] = True
    land = np.broadcast_to(np.arange(SHAPE[1]) >= 90, SHAPE).astype(np.uint16) * 8
    beside = located(*swath(SHAPE, latitude, longitude))._replace(
        solar_zenith=np.full(SHAPE, zenith, np.float32), confidence=Flags(land, {"land": 8})
    )
    quicklook.write(path, NAME, image, measured, cloud, beside)
    return matplotlib.image.imread(path)[..., :3]


def colour(picture: np.ndarray, row: int, column: int, panel: int) -> list[float]:
    """Red, green and blue around a pixel of a panel, the median, as lines may cross it. Panels are 20 pixels apart."""
    top, left = picture.shape[0] - 35 - SHAPE[0] + row, panel * (SHAPE[1] + 20) + column
    return np.median(picture[top - 12 : top + 13, left - 3 : left + 4].reshape(-1, 3), axis=0).tolist()


@pytest.mark.parametrize("place", [(50.0, 5.0), (-17.0, 179.9), (89.9, 0.0)], ids=["plain", "antimeridian", "pole"])
def test_a_quicklook_shows_scene_mask_coast_and_gaps(tmp_path, place):
    by_day, by_night = (picture(tmp_path / f"{zenith}.png", zenith, *place) for zenith in (40.0, 110.0))
    for panel in (0, 1):
        red, green, blue = colour(by_day, 75, 30, panel)  # clear sky
        assert green > red + 0.1
        assert red == pytest.approx(blue, abs=0.02)
        red, green, blue = colour(by_night, 75, 30, panel)
        assert red == pytest.approx(green, abs=0.01) == blue
        assert colour(by_day, 75, 4, panel) == pytest.approx([128 / 255] * 3, abs=0.01)  # no data
    for shown in (by_day, by_night):
        red, green, blue = colour(shown, 45, 70, 0)
        assert red == pytest.approx(blue, abs=0.01)
        red, green, blue = colour(shown, 45, 70, 1)
        assert red > green + 0.1 > blue + 0.2
    yellow = np.abs(by_night - np.array([0xFF, 0xD9, 0x2F]) / 255).max(-1) < 0.25
    coast = np.count_nonzero(yellow[40 : 40 + SHAPE[0], : SHAPE[1]], axis=0)
    assert int(np.argmax(coast)) in (89, 90)
    assert coast.max() > SHAPE[0] / 2


def test_a_scene_without_coordinates_and_flags_has_a_quicklook(tmp_path):
    image, one = np.zeros((5, 4, 9), np.float32), np.ones((5, 4), np.uint8)
    quicklook.write(tmp_path / "a.png", "S3A_1.hdf", image, one, one > 0, Ancillary())
    assert matplotlib.image.imread(tmp_path / "a.png").size > 0
    with pytest.raises(UserError, match="exists already"):
        quicklook.write(tmp_path / "a.png", "S3A_1.hdf", image, one, one > 0, Ancillary())
