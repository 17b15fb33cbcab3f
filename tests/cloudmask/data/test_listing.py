"""Which scenes and products a folder holds: every platform and form, what is passed over, each acquisition once."""

import zipfile
from pathlib import Path

import pytest

from cloudmask.config import DataSettings
from cloudmask.data.listing import list_products, list_scenes
from cloudmask.data.scenes import split
from cloudmask.sen3 import names
from common.errors import UserError

SEN3 = "S3{}_SL_1_RBT____{}_20220615T101714_{}_0180_086_222_2160_PS1_O_{}_{}.SEN3"


def name(platform="A", start="20220615T101414", made="20220616T180149", when="NT", baseline="004") -> str:
    return SEN3.format(platform, start, made, when, baseline)


def put(folder: Path, *products: str) -> None:
    for each in products:
        (folder / each).mkdir(parents=True)
        (folder / each / "xfdumanifest.xml").write_text("x")


def listed(folder, lines=None, **options) -> list:
    return [
        scene.name for scene in list_scenes(str(folder), tell=(lines if lines is not None else []).append, **options)
    ]


def test_all_four_platforms_fly(tmp_path):
    put(tmp_path, *(name(platform) for platform in "ABCD"))
    converted = "S3D_1.hdf", "S03SLSRBT_20220615T111414_00179_C0222_S83A.hdf"
    for each in converted:
        (tmp_path / each).write_bytes(b"x")
    lines = []
    assert listed(tmp_path, lines) == sorted([*converted, *(name(platform) for platform in "ABCD")])
    assert lines == []


def test_what_is_passed_over_is_said_in_one_line(tmp_path):
    put(tmp_path, name(), "S3A_OL_1_EFR____2022.SEN3", "S3E_SL_1_RBT____2022.SEN3", "S02MSIL1C_2022.zarr")
    lines = []
    assert listed(tmp_path, lines) == [name()]
    assert lines == [f"{tmp_path}: passed over S02MSIL1C_2022.zarr and 2 more, which are not of this kind"]
    with pytest.raises(UserError, match=r"no file matches .*; passed over xfdumanifest|no file matches") as caught:
        listed(tmp_path / "S3A_OL_1_EFR____2022.SEN3")
    assert "passed over" not in str(caught.value)


def test_nothing_but_what_is_passed_over_is_an_error_that_names_it(tmp_path):
    put(tmp_path, "S3A_SL_2_LST____2022.SEN3")
    with pytest.raises(UserError, match=r"in this folder or below it; passed over S3A_SL_2_LST____2022\.SEN3, which"):
        listed(tmp_path)


def test_archives_and_zarr_are_products(tmp_path):
    for each in (f"{name('A')}.zip", name("B").replace(".SEN3", ".zip")):
        zipfile.ZipFile(tmp_path / each, "w").close()
    put(tmp_path, "S03SLSRBT_20220615T101414_00179_C0222_S83A.zarr")
    assert len(listed(tmp_path)) == 3
    assert len(list_products([str(tmp_path)])) == 3
    assert {names.stem(each) for each in listed(tmp_path)} == {
        name("A").removesuffix(".SEN3"),
        name("B").removesuffix(".SEN3"),
        "S03SLSRBT_20220615T101414_00179_C0222_S83A",
    }


@pytest.mark.parametrize("inside", ["xfdumanifest.xml", "", "."])
def test_a_file_inside_a_product_stands_for_it(tmp_path, inside):
    put(tmp_path, name())
    assert listed(tmp_path / name() / inside) == [name()]


def test_a_product_in_a_folder_of_its_own_name_is_one(tmp_path):
    put(tmp_path / name(), name())
    for given in (tmp_path, tmp_path / name(), tmp_path / name() / name() / "xfdumanifest.xml"):
        (scene,) = list_scenes(str(given))
        assert (scene.path, scene.bytes) == (str(tmp_path / name()), 1)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"when": "NR", "made": "20220615T123000"}, {}),
        ({"baseline": "004"}, {"baseline": "005", "made": "20220616T180149"}),
        ({"made": "20220616T180149"}, {"made": "20230101T000000"}),
    ],
)
def test_of_an_acquisition_that_is_there_twice_the_newest_is_taken(tmp_path, older, newer):
    put(tmp_path, name(**older), name(**newer), name("B"))
    lines = []
    assert listed(tmp_path, lines) == sorted([name(**newer), name("B")])
    assert len(lines) == 1
    assert lines[0].startswith("1 of 3 left out: an acquisition that is there more than once is one sample")
    assert f"such as {name(**newer)} rather than {name(**older)}" in lines[0]


def test_a_zarr_product_gives_way_to_the_sen3_one_of_its_acquisition(tmp_path):
    put(tmp_path, name(), "S03SLSRBT_20220615T101414_00179_A0222_S83A.zarr")
    assert listed(tmp_path) == [name()]


def test_no_acquisition_is_on_both_sides_of_the_split(tmp_path):
    starts = [f"20220615T10{minute:02d}00" for minute in range(20)]
    put(
        tmp_path, *(name(start=start, made=made) for start in starts for made in ("20220616T000000", "20220617T000000"))
    )
    training, held_out = split(list_scenes(str(tmp_path)), DataSettings())
    sides = [{names.acquisition(scene.path) for scene in side} for side in (training, held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[0] | sides[1]) == len(training) + len(held_out) == 20
