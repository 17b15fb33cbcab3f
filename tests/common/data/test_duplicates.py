"""Samples on both sides of a split under two names are found, without reading the others."""

import os
import shutil

import numpy as np
import pytest

from common.data import duplicates
from common.data.files import list_files

BYTES = 400_000


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.bin").write_bytes(rng.bytes(BYTES))
    return lambda: list_files(str(tmp_path), "*.bin", folders=["*.folder"])


def names(pairs):
    return [(pair.first.name, pair.second.name) for pair in pairs]


def test_a_copy_under_another_name(tmp_path, files):
    assert duplicates.in_words(files()[:2], files()[2:], "scenes") == ""
    shutil.copy(tmp_path / "a.bin", tmp_path / "e.bin")
    assert names(duplicates.on_both_sides(files()[:2], files()[2:])) == [("a.bin", "e.bin")]
    line = duplicates.in_words(files()[:2], files()[2:], "scenes")
    assert line.startswith("warning: 1 of the 3 held-out scenes have the contents of one to train on: ")
    assert f"{tmp_path}/e.bin is {tmp_path}/a.bin" in line
    assert duplicates.on_both_sides(files()[1:2], files()[2:]) == []  # on one side alone


def test_blocks_that_agree_are_no_proof(tmp_path, files):
    """Night scenes hold zeros where day scenes hold light."""
    content = bytearray((tmp_path / "a.bin").read_bytes())
    content[BYTES // 3] ^= 1
    (tmp_path / "e.bin").write_bytes(content)
    assert duplicates.on_both_sides(files()[:1], files()[1:]) == []


def test_folders_and_what_cannot_be_read(tmp_path, files):
    for name in ("x", "y"):
        (tmp_path / f"{name}.folder").mkdir()
        shutil.copy(tmp_path / "a.bin", tmp_path / f"{name}.folder" / "S1.nc")
        (tmp_path / f"{name}.folder" / "flags.nc").write_bytes(b"1")
    listed = files()
    assert names(duplicates.on_both_sides(listed[:5], listed[5:])) == [("x.folder", "y.folder")]
    os.unlink(tmp_path / "x.folder" / "S1.nc")
    os.unlink(tmp_path / "b.bin")
    assert duplicates.on_both_sides(listed[:5], listed[5:]) == []


def test_a_few_of_very_many(tmp_path, files, monkeypatch):
    opened = []
    monkeypatch.setattr(duplicates, "_MOST_FILES", 2)
    monkeypatch.setattr(duplicates, "_digest", lambda file: opened.append(file) or file.name)
    assert duplicates.on_both_sides(files()[:3], files()[3:]) == []
    assert len(opened) == 2
