"""Run folders: never shared, never overwritten, resumed only with the run's own settings."""

import json

import pytest
import tensorflow as tf

from cloudmask import config as cloudmask_config
from common.errors import UserError
from common.runs import files
from common.runs.folder import Run, check_trained_with
from common.runs.folder import open_run as open_folder
from common.runs.records import append, read_lines, read_records


def settings(tmp_path, *overrides) -> cloudmask_config.Config:
    return cloudmask_config.load(None, [f"output.folder={tmp_path}", *overrides])


def open_run(tmp_path, *overrides, resume=None, command="cloudmask train") -> Run:
    config = settings(tmp_path, *overrides)
    return open_folder(config, config.output, command, resume)


def test_a_new_run_has_its_settings_and_environment(tmp_path):
    run = open_run(tmp_path, "training.epochs=3")
    assert cloudmask_config.load(str(run / "config.yaml")).training.epochs == 3
    (environment,) = read_lines(run / "environment.jsonl")
    assert environment["packages"]["tensorflow"] == tf.__version__
    assert environment["cores"] > 0


def test_runs_without_a_name_never_meet(tmp_path):
    assert len({open_run(tmp_path).path for _ in range(3)}) == 3


def test_a_taken_name_is_refused_and_left(tmp_path):
    first = closed(open_run(tmp_path, "output.run_name=mine"))
    first.begin()
    before = (first / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="mine: exists already and is left as it is"):
        open_run(tmp_path, "output.run_name=mine", "training.epochs=9")
    assert (first / "config.yaml").read_bytes() == before


def closed(run: Run) -> Run:
    """As if its process had ended: the lock is let go of."""
    run.__exit__()
    return run


def test_a_run_goes_on_only_with_its_own_settings(tmp_path):
    run = closed(open_run(tmp_path))
    assert closed(open_run(tmp_path, "training.epochs=99", resume=str(run.path))).path == run.path
    with pytest.raises(UserError, match=r"the run has optimizer\.start_lr: 0\.001, but 0\.1 is requested now"):
        open_run(tmp_path, "optimizer.start_lr=0.1", resume=str(run.path))


def test_a_config_that_was_edited_before_a_resume_is_noticed_by_the_checkpoint(tmp_path):
    run = closed(open_run(tmp_path))
    trained = json.loads(json.dumps(run.settings))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("start_lr: 0.001", "start_lr: 0.1").replace("epochs: 30", "epochs: 9"))
    again = closed(
        open_folder(cloudmask_config.load(str(config)), run_output(config), "cloudmask train", str(run.path))
    )
    message = r"step-1: was trained with optimizer\.start_lr: 0\.001, but .*config\.yaml has 0\.1 now"
    with pytest.raises(UserError, match=message):
        check_trained_with(trained, again, run / "step-1")
    check_trained_with({**trained, "optimizer.start_lr": 0.1}, again, run / "step-1")
    check_trained_with({}, again, run / "step-1")  # of an older version


def run_output(config):
    return cloudmask_config.load(str(config)).output


def test_a_setting_that_the_old_config_lacks_is_compared_too(tmp_path):
    run = closed(open_run(tmp_path))
    lines = [line for line in (run / "config.yaml").read_text().splitlines() if "start_lr:" not in line]
    (run / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"the run has optimizer\.start_lr: None, but 0\.001 is requested now"):
        open_run(tmp_path, resume=str(run.path))


def test_a_run_goes_on_only_with_its_own_command(tmp_path):
    run = closed(open_run(tmp_path))
    with pytest.raises(UserError, match="is a run of 'cloudmask train', not of 'cloudmask infer'"):
        open_run(tmp_path, resume=str(run.path), command="cloudmask infer")
    assert [start["command"] for start in read_lines(run / "environment.jsonl")] == ["cloudmask train"]


def test_each_start_adds_its_record(tmp_path):
    run = closed(open_run(tmp_path))
    closed(open_run(tmp_path, resume=str(run.path)))
    assert [start["resumed"] for start in read_lines(run / "environment.jsonl")] == [False, True]


def test_two_processes_cannot_run_in_one_folder(tmp_path):
    run = open_run(tmp_path)
    with pytest.raises(UserError, match="another process is running in this folder"):
        open_run(tmp_path, resume=str(run.path))
    closed(run)
    assert open_run(tmp_path, resume=str(run.path)).resumed


def test_auto_takes_the_newest_run_of_the_same_command_with_checkpoints(tmp_path):
    older, newer, bare = open_run(tmp_path), open_run(tmp_path), open_run(tmp_path)
    for run in map(closed, (older, newer)):
        (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    other = open_run(tmp_path, command="another command")
    (other / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert bare.path > newer.path > older.path
    assert open_run(tmp_path, resume="auto").path == newer.path


def test_a_job_that_was_requeued_before_its_first_checkpoint_begins_again_in_its_folder(tmp_path):
    first = closed(open_run(tmp_path, "output.run_name=job-7", resume="auto"))
    first.begin()
    again = open_run(tmp_path, "output.run_name=job-7", resume="auto")
    assert (again.path, again.resumed) == (first.path, True)
    with pytest.raises(UserError, match="job-7: exists already"):
        open_run(tmp_path, "output.run_name=job-7", resume="auto", command="another command")


def test_auto_without_a_run_starts_one(tmp_path):
    assert open_run(tmp_path, resume="auto").resumed is False


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        open_run(tmp_path, resume=str(tmp_path / "none"))


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the run folder cannot be created"):
        open_run(tmp_path / "file" / "below")


def test_steps_that_a_resume_repeats_count_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "step", "step": 1}, {"kind": "step", "step": 2}, {"kind": "resume", "step": 1}]
    lines.append({"kind": "step", "step": 2, "again": True})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "torn')
    append(path, {"kind": "step", "step": 3})  # goes on after the torn line
    steps = [record for record in read_records(path) if record["kind"] == "step"]
    assert steps == [lines[0], lines[3], {"kind": "step", "step": 3}]


def test_a_place_that_cannot_be_written_is_found_at_the_start(tmp_path):
    files.check_writable(tmp_path / "new" / "model.h5")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"model\.h5: cannot be written"):
        files.check_writable(tmp_path / "file" / "model.h5")


def test_an_older_file_is_moved_aside_not_lost(tmp_path):
    source, target = tmp_path / "new", tmp_path / "out" / "model.h5"
    for content in ("one", "two", "three"):
        source.write_text(content)
        files.deliver(source, target)
    found = {path.name: path.read_text() for path in target.parent.iterdir()}
    assert found == {"model.h5": "three", "model.h5.1": "one", "model.h5.2": "two"}
