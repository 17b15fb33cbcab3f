"""Models trained at once: which count, how long they took together, models per minute."""

import pytest

from common.report import __main__ as report
from common.report.options import Options
from common.report.throughput import best, fit, instance_groups, throughput_table
from tests.common.report.test_report import PUBLISHED, read, texts, write_log

OPTIONS = Options()


def instances(folder, seconds, **values) -> list:
    """Of three epochs each, which begin together."""
    return [
        read(write_log(folder / f"m{n}.log", epoch_s=each, instance_id=n, **{"seed": n, **values}))
        for n, each in enumerate(seconds)
    ]


def test_the_time_is_from_the_first_start_to_the_last_stop(tmp_path):
    (group,) = instance_groups(instances(tmp_path, [10, 11, 12, 12, 13, 14]))
    models, pruned = fit(group, OPTIONS)
    assert (len(models), pruned) == (6, {})
    everything = best(models, 5)
    assert (everything.seconds, len(everything.models)) == (42.0, 6)
    assert everything.models_per_minute == pytest.approx(6 / 0.7)
    form = throughput_table(group, OPTIONS)
    assert [texts(column)[0] for column in form.columns[1:]] == ["24", "4", "6 of 6", "42.000", "8.571"]


def test_what_comes_late_is_pruned_but_five_are_left(tmp_path):
    (group,) = instance_groups(instances(tmp_path, [10, 10, 10, 10, 10, 90]))
    chosen = best(fit(group, OPTIONS)[0], 5)
    assert (len(chosen.models), chosen.seconds) == (5, 30.0)
    form = throughput_table(group, OPTIONS)
    assert texts(form.columns[3]) == ["6 of 6", "5 of 6"]
    assert "pruned as late: m5" in str(form.caption)
    (few,) = instance_groups(instances(tmp_path, [10, 10, 90]))
    assert best(few, 5).seconds == 270.0  # less than five are never pruned further


def test_what_is_no_trained_model_of_its_own_is_pruned_and_said(tmp_path):
    group = instances(tmp_path, [10, 10, 10], seed=7)
    group.append(read(write_log(tmp_path / "missed.log", 1, instance_id=3, seed=3)))
    group.append(read(write_log(tmp_path / "broken.log", change=lambda lines: lines[:-1], instance_id=4, seed=4)))
    models, pruned = fit(group, OPTIONS)
    assert [run.name for run in models] == ["m0"]
    assert pruned == {
        "m1": "has the seed 7 of m0",
        "m2": "has the seed 7 of m0",
        "missed": "missed the target",
        "broken": "broke off",
    }


def test_a_group_is_named_by_its_instances_numbers_whichever_began_first(tmp_path):
    form = throughput_table(instances(tmp_path, [10, 10])[::-1], OPTIONS)
    assert texts(form.columns[0]) == ["m0 ... m1: all trained models"]


def test_instances_of_another_time_or_size_are_another_result(tmp_path):
    assert len(instance_groups(instances(tmp_path, [10, 10]))) == 1
    other = read(write_log(tmp_path / "other.log", instance_id=9, number_of_ranks=8))
    assert len(instance_groups([*instances(tmp_path, [10]), other])) == 2
    assert throughput_table([read(write_log(tmp_path / "alone.log"))], OPTIONS) is None


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published logs are not at hand")
def test_the_published_throughput_result():
    runs = report.load([PUBLISHED / "perlmutter_weak"])
    (group,) = instance_groups(runs)
    models, pruned = fit(group, OPTIONS)
    found = best(models, 5)
    assert (len(found.models), pruned, round(found.seconds, 3)) == (10, {}, 290.816)
    assert round(found.models_per_minute, 3) == 2.063
