"""Where and when: the words of the command line, and which acquisitions they mean."""

import datetime
import re
from typing import NamedTuple, Optional

from cloudmask.sen3 import names
from common.errors import UserError

_DAY = datetime.timedelta(days=1)
_AROUND = datetime.timedelta(hours=12)  # of a time, in which the nearest acquisition is looked for


class Query(NamedTuple):
    """A place, degrees north and east; a span of time, UTC; nearest: of its acquisitions that at this time alone."""

    latitude: float
    longitude: float
    start: datetime.datetime
    end: datetime.datetime
    nearest: Optional[datetime.datetime]

    @property
    def words(self) -> str:
        when = f"at {self.nearest:%Y-%m-%dT%H:%M}" if self.nearest else f"on {self.start:%Y-%m-%d}"
        return f"{self.latitude:g}, {self.longitude:g} {when} UTC"


def parse(near: str, at: str) -> Query:
    """Raises UserError for what is no place or no time."""
    latitude, longitude = _place(near)
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)Z?)?", at)
    try:
        if match is None:
            raise ValueError
        day = datetime.datetime.fromisoformat(match[1]).replace(tzinfo=datetime.timezone.utc)
        if match[2] is None:
            return Query(latitude, longitude, day, day + _DAY, None)
        time = datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise UserError(f"--at {at}: a day such as 2026-06-15 or a time such as 2026-06-15T10:30, UTC") from None
    return Query(latitude, longitude, time - _AROUND, time + _AROUND, time)


def _place(near: str) -> tuple[float, float]:
    try:
        latitude, longitude = map(float, near.split(","))
    except ValueError:
        raise UserError(f"--near {near}: latitude and longitude in degrees expected, such as 50.1,-4.2") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise UserError(f"--near {near}: latitude comes first, from -90 to 90, then longitude, from -180 to 180")
    return latitude, longitude


def distance(query: Query, name: str) -> datetime.timedelta:
    """From the time asked for to the start of an acquisition; for sorting."""
    acquisition = names.acquisition(name)
    assert acquisition is not None
    assert query.nearest is not None
    start = datetime.datetime.strptime(acquisition.start, "%Y%m%dT%H%M%S").replace(tzinfo=datetime.timezone.utc)
    return abs(start - query.nearest)
