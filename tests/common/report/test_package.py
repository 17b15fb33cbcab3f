"""MLPerf's results folder, and what mlperf-logging's checkers say about it."""

import json

import pytest

from common.errors import UserError
from common.report import __main__ as report
from common.report import package
from tests.common.report.test_report import read, write_log

CLOSED = {
    "submission_status": "onprem",
    "submission_platform": "A machine/1",
    "batchnorm_group_size": 1,
    "global_batch_size": 2048,
    "gradient_accumulation_frequency": 1,
    "opt_betas": [0.9, 0.999],
    "opt_eps": 1e-6,
    "opt_bias_correction": True,
    "opt_grad_averaging": True,
    "opt_max_grad_norm": 1.0,
    "scheduler_lr_warmup_steps": 400,
    "scheduler_lr_warmup_factor": 1.0,
    "scheduler_milestones": [800],
    "scheduler_decay_rate": 0.1,
    "train_samples": 121266,
    "eval_samples": 15158,
    "cache_clear": True,
}


def five(folder, **values) -> list:
    """Logs of five run folders; twenty-four epochs to the target, as the convergence point at this batch."""

    def rising(lines: list) -> list:
        events = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        for event in events:
            if event["key"] == "eval_accuracy":
                event["value"] = 0.83 if event["metadata"]["epoch_num"] == 24 else 0.5
            event["metadata"] = {"file": "train.py", "lineno": 1, **event["metadata"]}
        return [f":::MLLOG {json.dumps(event)}" for event in events]

    runs = []
    for number in range(5):
        settings = {**CLOSED, "seed": number, **values}
        log = write_log(folder / f"run{number}" / "mlperf.log", 24, change=rising, **settings)
        environment = {"processor": "a processor", "sockets": 2, "cores": 64, "memory_gib": 4.0, "gpus": ["a GPU"]}
        environment |= {"packages": {"tensorflow": "2", "horovod": "3"}, "operating_system": "Linux", "commit": "abc"}
        environment |= {"command_line": ["tf_deepcam", "train"]}
        log.with_name("environment.jsonl").write_text(json.dumps(environment) + "\n")
        log.with_name("config.yaml").write_text("benchmark: deepcam\n")
        runs.append(read(log))
    return runs


def test_five_compliant_runs_pass_mlperf_s_own_checkers(tmp_path):
    (made,) = package.lay_out(five(tmp_path), tmp_path / "out")
    assert made.folder == tmp_path / "out" / "a_centre"
    (results,) = made.results
    assert results == made.folder / "results" / "A_machine_1" / "strong" / "deepcam"
    assert sorted(path.name for path in results.iterdir()) == [f"result_{n}.txt" for n in range(5)]
    system = json.loads((made.folder / "systems" / "A_machine_1.json").read_text())
    assert (system["host_processor_core_count"], system["accelerator_model_name"]) == ("64", "a GPU")
    assert "cooling" in made.asked and "framework" not in made.asked  # noqa: PT018
    assert "tf_deepcam train" in next(made.folder.rglob("README.md")).read_text()
    said = "\n".join(package.verdicts(made))
    assert "PACKAGE CHECKER FOUND NO ERRORS, SUCCESS" in said
    assert "RCP Test Passed" in said
    assert "ERROR -" not in said
    assert said.count("exit code 0") == 3
    minutes = (24 * 10.0) / 60  # the summary's olympic mean is that of common.report.olympic
    assert f",{minutes}," in said.splitlines()[-2]


def test_equal_seeds_and_a_missing_run_are_found_by_them(tmp_path):
    (made,) = package.lay_out(five(tmp_path, seed=5)[:4], tmp_path / "out")
    said = "\n".join(package.verdicts(made))
    assert "found 4, expected 5" in said
    assert "Seed checker failed" in said


def test_a_package_that_fails_leaves_nothing_that_refuses_the_repeat(tmp_path, monkeypatch):
    runs, whole = five(tmp_path), package._say_how

    def fail(folder, run) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package, "_say_how", fail)
    with pytest.raises(UserError, match=r"out: cannot be written \(No space left on device"):
        package.lay_out(runs, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"run{number}" for number in range(5)]
    monkeypatch.setattr(package, "_say_how", whole)
    (made,) = package.lay_out(runs, tmp_path / "out")
    assert (made.folder / "benchmarks").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--package", "{}/file"], "file: exists; choose another --package"),
        (["--package", "{}/file/below"], "below: cannot be written (File exists): choose another path"),
        (["--html", "{}/none/x.html"], "none/x.html: its folder does not exist; make it, or choose another --html"),
        (["--html", "{}/file"], "file: exists and is no report; choose another --html"),
        (["--html", "{}"], "exists and is no report; choose another --html"),
    ],
)
def test_a_place_that_cannot_be_written_is_answered_before_the_report(tmp_path, capsys, monkeypatch, words, message):
    (tmp_path / "file").touch()
    log = write_log(tmp_path / "run" / "mlperf.log")
    monkeypatch.setattr(report.sys, "argv", ["x", str(log), *(word.format(tmp_path) for word in words)])
    with pytest.raises(UserError) as error:
        report.main()
    assert str(error.value).endswith(message)
    assert capsys.readouterr().out == ""


def test_what_cannot_be_handed_in_is_refused_and_nothing_is_written_over(tmp_path):
    clouds = read(write_log(tmp_path / "clouds.log", submission_benchmark="cloudmask"))
    with pytest.raises(UserError, match=r"clouds\.log: MLPerf has no rules for cloudmask"):
        package.lay_out([clouds], tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out: exists; choose another --package"):
        package.lay_out([read(write_log(tmp_path / "a.log"))], tmp_path / "out")
