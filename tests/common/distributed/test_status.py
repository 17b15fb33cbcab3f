"""What ranks tell their launcher."""

from common.distributed import status


def test_the_state_of_a_run_is_kept_until_it_changes(tmp_path):
    told = {status.VARIABLE: str(tmp_path)}
    assert status.read_status(tmp_path) == status.Status()
    status.update(told, run_folder="runs/a", ranks=2)
    status.update(told, global_batch=8)
    assert status.read_status(tmp_path) == status.Status("runs/a", 2, 8)


def test_endings_are_forgotten_at_the_next_start_and_the_state_is_not(tmp_path):
    told = {status.VARIABLE: str(tmp_path)}
    status.update(told, run_folder="runs/a")
    status.end("error", "error: no room", 1, told)
    assert status.read_endings(tmp_path) == [status.Ending(0, "error", "error: no room", 1)]
    status.clear(tmp_path)
    assert status.read_endings(tmp_path) == []
    assert status.read_status(tmp_path).run_folder == "runs/a"


def test_without_a_launcher_and_without_a_folder_nothing_is_written(tmp_path):
    status.update({}, ranks=1)
    status.end("error", "error: x", 1, {status.VARIABLE: str(tmp_path / "none")})
    assert list(tmp_path.iterdir()) == []


def test_torn_files_tell_nothing(tmp_path):
    (tmp_path / "status.json").write_text('{"run_folder": "ru')
    (tmp_path / "ending-0.json").write_text("[1]")
    (tmp_path / "ending-1.json").write_text('{"rank": 1}')
    assert status.read_status(tmp_path) == status.Status()
    assert status.read_endings(tmp_path) == []
