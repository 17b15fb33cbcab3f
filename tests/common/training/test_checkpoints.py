"""Checkpoints: complete or not there, the newest whole one is found, damage is noticed."""

import hashlib
import os

import numpy as np
import pytest

from common.errors import UserError
from common.training import checkpoints


def save(folder, *steps, keep=3):
    for step in steps:
        arrays = {"a": np.full((50, 3), step, np.float32), "b": np.array(step)}
        checkpoints.save(folder, step, arrays, {"best": 0.5}, keep)


def test_what_was_saved_is_loaded(tmp_path):
    save(tmp_path, 7)
    found = checkpoints.load_newest(tmp_path, print)
    assert (found.step, found.position) == (7, {"best": 0.5})
    np.testing.assert_array_equal(found.arrays["a"], np.full((50, 3), 7, np.float32))


def test_only_the_newest_are_kept(tmp_path):
    save(tmp_path, 1, 2, 30, 4, keep=2)
    assert checkpoints.list_steps(tmp_path) == [4, 30]


@pytest.mark.parametrize(
    "damage", ["torn", "flipped", "no state", "no manifest", "torn manifest", "another manifest", "another step"]
)
def test_a_damaged_one_is_passed_over_and_that_is_said(tmp_path, damage):
    save(tmp_path, 1, 2)
    state, manifest = tmp_path / "step-00000002" / "state.npz", tmp_path / "step-00000002" / "manifest.json"
    if damage == "torn":
        state.write_bytes(state.read_bytes()[:100])
    elif damage == "flipped":
        content = bytearray(state.read_bytes())
        content[200] ^= 1
        state.write_bytes(bytes(content))
    elif damage == "another manifest":
        manifest.write_text('["valid JSON", "but no manifest"]')
    elif damage == "another step":
        manifest.write_text(manifest.read_text().replace('"step": 2', '"step": 7'))
    elif damage == "torn manifest":
        manifest.write_text(manifest.read_text()[:20])
    else:
        (state if damage == "no state" else manifest).unlink()
    said = []
    assert checkpoints.load_newest(tmp_path, said.append).step == 1
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint {tmp_path}/step-00000002 is damaged (")
    assert said[0].endswith("); trying the one before it")


def test_all_damaged_is_an_error_and_none_is_none(tmp_path):
    assert checkpoints.load_newest(tmp_path / "nothing", print) is None
    save(tmp_path, 1)
    (tmp_path / "step-00000001" / "state.npz").unlink()
    with pytest.raises(UserError, match="all 1 checkpoints are damaged"):
        checkpoints.load_newest(tmp_path, lambda text: None)


def test_what_a_kill_leaves_behind_is_ignored_and_replaced(tmp_path):
    save(tmp_path, 1)
    left = tmp_path / ".step-00000002.tmp"
    left.mkdir()
    (left / "state.npz").write_bytes(b"half")
    assert checkpoints.load_newest(tmp_path, pytest.fail).step == 1
    save(tmp_path, 2)
    assert checkpoints.load_newest(tmp_path, pytest.fail).step == 2
    assert not left.exists()


def test_a_full_disk_is_one_line_and_keeps_the_older_ones(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(
        UserError,
        match=r"cannot be written \(No space left on device; 608 bytes were needed, \d+ bytes are free\); the older",
    ):
        save(tmp_path, 2)
    assert checkpoints.load_newest(tmp_path, pytest.fail).step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_everything_is_flushed_to_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    flushed, replace = [], os.replace

    def fsync(descriptor: int) -> None:
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    def renamed(source, target) -> None:
        flushed.append("renamed")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    save(tmp_path / "checkpoints", 1)
    last = [tmp_path.name, "checkpoints"][::-1]
    assert flushed == ["state.npz", "manifest.json", ".step-00000001.tmp", "renamed", *last]


def test_messages_word_for_word_and_folders_are_made(tmp_path):
    folder = tmp_path / "new" / "run" / "checkpoints"
    save(folder, 1)
    (folder / "step-00000001" / "manifest.json").unlink()
    with pytest.raises(UserError) as caught:
        checkpoints.load_newest(folder, lambda text: None)
    assert str(caught.value) == f"{folder}: all 1 checkpoints are damaged; start a new run"
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/file/step-00000002: checkpoint cannot .*; the older ones are kept$"
    ):
        checkpoints.save(tmp_path / "file", 2, {}, {}, 3)


def reason_of(folder) -> str:
    said: list = []
    with pytest.raises(UserError):
        checkpoints.load_newest(folder, said.append)
    return said[0].split(" is damaged (")[1].removesuffix("); trying the one before it")


def test_why_it_is_damaged_is_said_word_for_word(tmp_path):
    save(tmp_path, 2)
    state, manifest = tmp_path / "step-00000002" / "state.npz", tmp_path / "step-00000002" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text("[]")
    assert reason_of(tmp_path) == "its manifest.json is not a manifest"
    manifest.write_text(whole.replace('"step": 2', '"step": 7'))
    assert reason_of(tmp_path) == "it is of step 7"
    manifest.write_text(whole)
    written = hashlib.sha256(state.read_bytes()).hexdigest()
    state.write_bytes(state.read_bytes() + b"x")
    now = hashlib.sha256(state.read_bytes()).hexdigest()
    assert reason_of(tmp_path) == f"checksum {now[:12]}, written as {written[:12]}"


def test_a_pickle_in_a_checkpoint_is_not_loaded(tmp_path):
    save(tmp_path, 1)
    state, manifest = tmp_path / "step-00000001" / "state.npz", tmp_path / "step-00000001" / "manifest.json"
    written = hashlib.sha256(state.read_bytes()).hexdigest()
    np.savez(state, a=np.array([{"an": "object"}], object))
    now = hashlib.sha256(state.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(written, now))
    assert "allow_pickle=False" in reason_of(tmp_path)
