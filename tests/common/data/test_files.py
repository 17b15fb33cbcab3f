"""What is named like a sample and is none, found when files are listed."""

import errno
import os
from pathlib import Path

import pytest

from common.data.files import list_files
from common.errors import UserError


def fifo(path) -> None:
    os.mkfifo(path)


def folder(path) -> None:
    path.mkdir()


def link_to_nothing(path) -> None:
    path.symlink_to("nowhere")


def link_loop(path) -> None:
    path.symlink_to(path.name)


def link_to_device(path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, folder, link_to_nothing, link_loop, link_to_device])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path, make):
    (tmp_path / "x1").touch()
    make(tmp_path / "x2")
    with pytest.raises(UserError, match=r"x2: (is named like a sample but is not|cannot be examined)"):
        list_files(str(tmp_path), "x*")


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("a/x1", "b/x1"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"b/x1: has the same name as .*a/x1"):
        list_files(str(tmp_path), "x*")


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path):
    with open(os.fsencode(tmp_path) + b"/x\xff", "wb"):
        pass
    with pytest.raises(UserError, match="has a name that is not UTF-8"):
        list_files(str(tmp_path), "x*")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_odd_folder_names_are_one_line(name):
    with pytest.raises(UserError, match=r"no such folder|cannot be searched"):
        list_files(name, "x*")


@pytest.mark.parametrize("unreadable", [("b",), ("b", "deeper"), ("a", "b", "c", "d")])
def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch, unreadable):
    """Two of six scenes would be missing without a word. The tests may run as root, who reads everything."""
    for folder in ("a", "b", "c", "d", "d/deeper"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"S3A_{folder[-1]}.hdf").write_bytes(b"x")
    really = os.scandir

    def scandir(path):
        if Path(path).name in unreadable:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path)

    assert len(list_files(str(tmp_path), "S3A*.hdf")) == 5
    monkeypatch.setattr(os, "scandir", scandir)
    message = rf"{len(unreadable)} folders in it cannot be read \(Permission denied\): .*/{unreadable[0]}"
    with pytest.raises(UserError, match=message):
        list_files(str(tmp_path), "S3A*.hdf")


def test_a_sample_that_is_a_folder_is_read_as_a_whole(tmp_path, monkeypatch):
    (tmp_path / "x.SEN3" / "inner").mkdir(parents=True)
    (file,) = list_files(str(tmp_path), folders=["*.SEN3"])
    really = os.scandir

    def scandir(path):
        if Path(path).name == "inner":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"x\.SEN3: cannot be examined \(Permission denied\)"):
        list_files(str(tmp_path), folders=["*.SEN3"])
    with pytest.raises(UserError, match=r"x\.SEN3: vanished during the run \(Permission denied\)"):
        file.check()
