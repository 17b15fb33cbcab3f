"""Masks on maps as GDAL and rasterio see them: a known pixel lies at its known place."""

import numpy as np
import pytest

from cloudmask import masks
from cloudmask.data.ancillary import Ancillary
from cloudmask.masks import grid
from common.errors import UserError
from tests.cloudmask.swaths import NAME, gdalinfo, located, swath, values_at

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (requirements-dev.txt)")

SHAPE = 90, 120
CLOUDS = [(1, 1), (7, 100), (45, 60), (88, 118)]  # middles of 3 x 3 pixels: a map need not show every single one
GAP = np.s_[20:23, :60]  # lost scan lines
PLACES = {
    "Cornwall": (50.1, -4.2, 4326),
    "Cornwall in UTM": (50.1, -4.2, 32630),
    "Fiji, over the antimeridian": (-17.0, 179.9, 4326),
    "Greenland": (80.0, -30.0, 4326),
    "the north pole in metres": (90.0, 0.0, 3413),
    "the south pole in metres": (-89.9, 100.0, 3031),
}


def write(path, latitude, longitude, epsg, **attributes) -> tuple:
    probability, measured = np.full(latitude.shape, 0.1, np.float32), np.ones(latitude.shape, np.uint8)
    for cloud in CLOUDS:
        probability[cloud[0] - 1 : cloud[0] + 2, cloud[1] - 1 : cloud[1] + 2] = 0.93
    measured[GAP] = 0
    masks.write_geotiff(path, probability, measured, located(latitude, longitude), 0.5, epsg, attributes)
    return probability, measured


@pytest.fixture(scope="module", params=PLACES)
def mapped(request, tmp_path_factory):
    """(path, latitude, longitude, epsg) of a mask in which a few pixels are cloud."""
    place, epsg = PLACES[request.param][:2], PLACES[request.param][2]
    latitude, longitude = swath(SHAPE, *place)
    path = tmp_path_factory.mktemp("maps") / masks.geotiff_name(f"/x/{NAME}.SEN3")
    write(path, latitude, longitude, epsg, product=f"{NAME}.SEN3", threshold=0.5)
    return path, latitude, longitude, epsg


def read_at(file, latitude: float, longitude: float) -> list[int]:
    """The bands at a place, by rasterio."""
    (x,), (y,) = rasterio.warp.transform("EPSG:4326", file.crs, [longitude], [latitude])
    if file.crs.is_geographic and x < file.bounds.left:
        x += 360.0
    (values,) = file.sample([(x, y)])
    return values.tolist()


def test_a_known_pixel_lies_at_its_latitude_and_longitude(mapped):
    path, latitude, longitude, _ = mapped
    with rasterio.open(path) as file:
        for row, column in CLOUDS:
            assert read_at(file, latitude[row, column], longitude[row, column]) == [1, 93]
            beside = (row + 3 if row < 80 else row - 3), column
            assert read_at(file, latitude[beside], longitude[beside]) == [0, 10]
        assert read_at(file, latitude[21, 30], longitude[21, 30]) == [255, 255]


def test_a_map_shows_each_pixel_once_or_so_and_smears_none(mapped):
    """Pixels of the map are about as large as the scene's, so that both have about as many of every value."""
    path, latitude, _, _ = mapped
    with rasterio.open(path) as file:
        bands = file.read()
        side_y = file.res[1] * (111.19 if file.crs.is_geographic else 0.001)
        side_x = file.res[0] * (111.19 * np.cos(np.radians(latitude.mean())) if file.crs.is_geographic else 0.001)
    shown = bands[0] != 255
    np.testing.assert_array_equal(shown, bands[1] != 255)
    assert set(bands[1].ravel()) == {10, 93, 255}
    measured = SHAPE[0] * SHAPE[1] - 3 * 60
    # Scales of UTM and polar maps differ by up to 3 % from the ground's; edges reach 0.2 pixels farther.
    assert np.count_nonzero(shown) * side_x * side_y == pytest.approx(measured, rel=0.08)


def test_a_lost_pixel_is_lost_on_the_map_and_unknown_places_are_left_out(tmp_path):
    latitude, longitude = swath(SHAPE, 50.1, -4.2)
    latitude[:, 110:] = np.nan
    write(tmp_path / "a.tif", latitude, longitude, 4326)
    whole_latitude, _ = swath(SHAPE, 50.1, -4.2)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert read_at(file, latitude[45, 109], longitude[45, 109]) == [0, 10]
        assert read_at(file, whole_latitude[45, 112], longitude[45, 112])[0] == 255


def test_gdal_reads_it_as_a_cloud_optimised_file_with_its_origin(mapped):
    path, latitude, longitude, epsg = mapped
    about = gdalinfo(path)
    assert about["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert f'ID["EPSG",{epsg}]]' in about["coordinateSystem"]["wkt"].replace("\n", "")
    assert [(band["type"], band["noDataValue"], band["description"]) for band in about["bands"]] == [
        ("Byte", 255.0, "cloud_mask"),
        ("Byte", 255.0, "cloud_probability"),
    ]
    tags = about["metadata"][""]
    assert (tags["product"], tags["platform"]) == (f"{NAME}.SEN3", "Sentinel-3B")
    assert (tags["time_coverage_start"], tags["relative_orbit"]) == ("2020-01-01T10:15:00Z", "179")
    beyond = epsg == 4326 and about["cornerCoordinates"]["upperRight"][0] > 180
    longitude = longitude % 360 if beyond else longitude
    places = [(latitude[pixel], longitude[pixel]) for pixel in [*CLOUDS, (21, 30)]]
    assert values_at(path, places) == [1, 93] * len(CLOUDS) + [255, 255]


def test_maps_over_the_antimeridian_stay_small():
    assert grid.unwrapped(np.array([179.0, -179.5, -178.0])).tolist() == pytest.approx([179.0, 180.5, 182.0])
    assert grid.unwrapped(np.array([-4.0, 3.0, 0.0])).tolist() == pytest.approx([-4.0, 3.0, 0.0])


@pytest.mark.parametrize(
    ("epsg", "message"),
    [
        (1, "inference.epsg: 1 is no coordinate system of a map"),
        (4978, "inference.epsg: 4978 is no coordinate system of a map"),  # metres from the Earth's centre
        (3413, "no pixel has a place on the map|would have"),
    ],
)
def test_a_map_that_cannot_be_is_one_line(tmp_path, epsg, message):
    latitude, longitude = swath(SHAPE, -89.9, 100.0)
    with pytest.raises(UserError, match=message):
        write(tmp_path / "a.tif", latitude, longitude, epsg)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_without_coordinates_is_one_line(tmp_path):
    one = np.ones((3, 4), np.float32)
    with pytest.raises(UserError, match="S3A_1: has no latitude and longitude"):
        masks.write_geotiff(tmp_path / "S3A_1.tif", one, one.astype(np.uint8), Ancillary(), 0.5, 4326, {})
