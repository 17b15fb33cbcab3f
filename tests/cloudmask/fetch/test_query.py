"""Places and times as a user gives them."""

import datetime

import pytest

from cloudmask.fetch.query import distance, parse
from common.errors import UserError
from tests.cloudmask.fetch.services import name

UTC = datetime.timezone.utc


def test_a_day_is_the_whole_of_it_and_a_time_looks_around():
    day = parse("50.1,-4.2", "2026-06-15")
    assert (day.latitude, day.longitude, day.nearest) == (50.1, -4.2, None)
    assert (day.start, day.end) == (
        datetime.datetime(2026, 6, 15, tzinfo=UTC),
        datetime.datetime(2026, 6, 16, tzinfo=UTC),
    )
    time = parse(" -90 , 180", "2026-06-15T10:30Z")
    assert time.nearest == datetime.datetime(2026, 6, 15, 10, 30, tzinfo=UTC)
    assert time.end - time.start == datetime.timedelta(days=1)
    assert distance(time, name(start="20260615T101500")) == datetime.timedelta(minutes=15)


@pytest.mark.parametrize("near", ["50.1", "50.1,-4.2,3", "north,east", "-4.2,250", "91,0", "nan,0", "inf,0"])
def test_what_is_no_place_is_refused(near):
    with pytest.raises(UserError, match="--near "):
        parse(near, "2026-06-15")


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", "15.6.2026", "2026-06-15T25:00", "2026-06-15T10:30+02:00"])
def test_what_is_no_time_is_refused(at):
    with pytest.raises(UserError, match=r"--at .*2026-06-15T10:30, UTC"):
        parse("50.1,-4.2", at)
