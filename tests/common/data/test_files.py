"""What is named like a sample and is none, found when files are listed."""

import os

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
