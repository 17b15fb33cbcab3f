"""The scaling model against answers worked out by hand."""

import numpy as np
import pytest

from common.scaling import model as scaling
from common.scaling import show
from common.scaling.model import Job, Link
from tests.helpers import errors, run

LINK = Link(1e-5, 1e10)
SIZES = tuple(4**n * 1024 for n in range(10))


def test_a_ring_s_time():
    assert scaling.ring(1e9, 1, LINK) == 0
    assert scaling.ring(1e9, 2, LINK) == pytest.approx(2e-5 + 0.1)
    assert scaling.ring(1e9, 4, LINK) == pytest.approx(6e-5 + 0.15)


def test_the_faster_of_ring_and_hierarchical_is_taken():
    job = Job(1.0, 1e9, LINK, Link(1e-6, 1e11), ranks_per_node=4)
    assert scaling.allreduce(1e9, 4, job) == pytest.approx(6e-6 + 0.015)  # inside the node
    # 2 nodes: 0.015 inside, then a quarter of the bytes between the two
    assert scaling.allreduce(1e9, 8, job) == pytest.approx(6e-6 + 0.015 + 2e-5 + 0.025)
    slow_inside = Job(1.0, 1e9, LINK, Link(1e-6, 1e8), ranks_per_node=4)
    assert scaling.allreduce(1e9, 8, slow_inside) == pytest.approx(scaling.ring(1e9, 8, LINK))


def test_the_mean_of_the_largest_of_normal_numbers():
    assert scaling.expected_maximum(1) == pytest.approx(0.0, abs=1e-9)
    assert scaling.expected_maximum(2) == pytest.approx(np.pi**-0.5, abs=1e-6)
    assert scaling.expected_maximum(3) == pytest.approx(1.5 * np.pi**-0.5, abs=1e-6)
    assert scaling.expected_maximum(1000) == pytest.approx(3.2414, abs=1e-3)  # Tippett's tables


def test_the_backward_pass_hides_all_but_the_last_of_four_parts():
    hidden = scaling.predict(Job(1.0, 1e9, LINK), 2)
    assert hidden.allreduce == pytest.approx(0.10002)
    assert hidden.exposed == pytest.approx(0.10002 / 4)
    assert (hidden.binds, hidden.efficiency) == ("compute", pytest.approx(1 / (1 + 0.025005)))
    paused = scaling.predict(Job(1.0, 1e9, LINK, cycle=0.02), 2)
    assert paused.exposed == pytest.approx(hidden.exposed + 0.01)
    bare = scaling.predict(Job(0.03, 1e9, LINK, local_batch=2), 2)
    assert bare.exposed == pytest.approx(0.10002 - 0.02)
    assert bare.binds == "allreduce"
    assert bare.samples_per_second == pytest.approx(4 / (0.03 + 0.08002))


def test_a_link_is_found_from_its_own_times():
    sizes = SIZES
    assert (sizes[0], sizes[-1]) == (1024, 256 * 2**20)
    found = scaling.fit(sizes, [scaling.ring(size, 4, LINK) for size in sizes], 4)
    assert (found.latency, found.bandwidth) == (pytest.approx(1e-5), pytest.approx(1e10))


def test_the_commands(tmp_path):
    output = run("-m", "common.scaling", "bench-allreduce")
    assert "needs at least 2 ranks" in errors(output.stdout)[0]
    arguments = ["--step-seconds", 0.1, "--gradient-bytes", 2e8, "--picture", tmp_path / "s.png"]
    output = run("-m", "common.scaling", "predict", *arguments)
    assert "give --allreduce FILE" in errors(output.stdout)[0]
    output = run("-m", "common.scaling", "predict", *arguments, "--between", 5, 10, "--measured", "2:0.11", "3:0.12")
    assert output.returncode == 0, output.stdout
    rows = [line.split() for line in output.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows][:4] == ["1", "2", "3", "4"]
    assert rows[-1][0] == "32768"
    assert "0.1100" in rows[1]
    assert (tmp_path / "s.png").stat().st_size > 10000


def test_the_picture_names_its_curves_and_its_units(tmp_path):
    job = scaling.Job(0.1, 2e8, LINK, spread=0.01)
    predictions = [scaling.predict(job, ranks) for ranks in (1, 2, 64)]
    rates, times = show.draw(predictions, {2: 0.11}, job, tmp_path / "s.png").axes
    assert [text.get_text() for text in rates.get_legend().get_texts()] == ["ideal", "predicted", "measured"]
    assert [text.get_text() for text in times.get_legend().get_texts()] == [
        "step",
        "allreduce, not hidden",
        "stragglers",
    ]
    assert [axis.get_xlabel() for axis in (rates, times)] == ["ranks", "ranks"]
    assert [axis.get_ylabel() for axis in (rates, times)] == ["samples/s", "seconds"]
    assert [label.get_text() for label in rates.get_xticklabels()] == ["1", "4", "16", "64"]
    assert len({line.get_marker() for line in times.lines}) == 3
