"""Manifests of products, the real one among them."""

import pytest

from cloudmask.fetch import manifest
from cloudmask.sen3.files import Folder
from common.errors import UserError
from tests.cloudmask.fetch.services import Held, name
from tests.helpers import ROOT

REAL = ROOT.parent / "shared" / "real-slstr" / "xfdumanifest_20210930.xml"


def test_of_a_real_product_20_of_97_files_are_needed():
    if not REAL.is_file():
        pytest.skip("the real manifest lies in shared/, which is not here")
    entries = manifest.parse(REAL.read_bytes(), "real")
    assert len(entries) == 97
    assert entries["S1_radiance_an.nc"].bytes > 0
    needed = manifest.needed(entries)
    assert {entry.file for entry in needed} == manifest.NEEDED
    assert len(needed) == 20
    assert sum(entry.bytes for entry in needed) < 0.15 * sum(entry.bytes for entry in entries.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<xfdu:XFDU", b'<!DOCTYPE x [<!ENTITY a "a">]><xfdu:XFDU'),
        (b'size="120008"', b'size="99999999999"'),
        (b'size="120008"', b'size="-1"'),
        (b'checksumName="MD5"', b'checksumName="SHA"'),
        (b"</checksum>", b"z</checksum>"),
        (b"</dataObjectSection>", b""),
        (b"UTF-8", b"UTF-16\xff"),
        (b"_", b"-"),
    ],
)
def test_what_is_no_manifest_is_refused(old, new):
    content = Held(name(), 0).manifest
    assert old in content
    with pytest.raises(UserError, match="here"):
        manifest.parse(content.replace(old, new), "here")


@pytest.mark.parametrize(
    "file", ["../x.nc", "/tmp/x.nc", "x\\..\\y.nc", "x.nc\n", "a/b.nc", ".nc", "x.py", "x" * 200 + ".nc"]
)
def test_names_that_are_no_names_of_files_are_refused(file):
    held = Held(name(), 0)
    held.files[file] = b"evil"
    held.seal()
    with pytest.raises(UserError, match="here: lists "):
        manifest.parse(held.manifest, "here")


def test_files_are_compared_with_it(tmp_path):
    held = Held(name(), 0)
    for file, content in held.all_files().items():
        (tmp_path / file).write_bytes(content)
    assert manifest.compare(Folder(tmp_path), whole=True) == 6
    (tmp_path / "met_tx.nc").unlink()  # no mask needs it
    assert manifest.compare(Folder(tmp_path), whole=False) == 4
    with pytest.raises(UserError, match=r"met_tx.nc: is missing"):
        manifest.compare(Folder(tmp_path), whole=True)
    (tmp_path / "flags_in.nc").write_bytes(b"short")
    with pytest.raises(UserError, match=r"flags_in.nc: its checksum is not the manifest's"):
        manifest.compare(Folder(tmp_path), whole=False)
