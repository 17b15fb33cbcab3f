"""Names of scenes and products: which there are, and which of them are one acquisition.

X.SEN3         S3A_SL_1_RBT____START_END_CREATED_DURATION_CYCLE_ORBIT_FRAME_CENTRE_CLASS_TIMELINESS_BASELINE, a folder
X.zip          one X.SEN3 or X.zarr, as archives serve them; also X.SEN3.zip
X.zarr         the same in ESA's EOPF form: S03SLSRBT_START_DURATION_PLATFORM+ORBIT_SUFFIX, or a name as above
X.hdf          a scene in the form of the benchmark's data set, with a product's name

Sentinel-3A and B fly; C and D are named alike (Sentinel-3 PUG, "SLSTR product naming convention").
"""

import re
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, Optional, Union


class Form(NamedTuple):
    """In which scenes come. ending: of the name; starts: shell patterns of what stands before it."""

    title: str
    ending: str
    starts: tuple[str, ...]
    is_folder: bool = False

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(f"{start}{self.ending}" for start in self.starts)


_OF_SEN3, _OF_EOPF = "S3[A-D]_SL_1_*", "S03SLSRBT_*"
SEN3 = Form("SEN3", ".SEN3", (_OF_SEN3,), is_folder=True)
ZARR = Form("Zarr", ".zarr", (_OF_EOPF, _OF_SEN3), is_folder=True)
ARCHIVE = Form("zip", ".zip", (_OF_SEN3, _OF_EOPF))
SCENE = Form("data set", ".hdf", ("S3[A-D]*", _OF_EOPF))
FORMS = (ZARR, ARCHIVE, SCENE, SEN3)  # of one acquisition made at one time, the last goes first
FOLDERS = (*SEN3.patterns, *ZARR.patterns)
# What is named like a product of some satellite: it is said if it is passed over.
RELATED = ("*.SEN3", "*.SEN3.zip", "*.zarr", "*.SAFE", "S0*.zip", "S[0-9][A-Z]*.zip", "*.hdf", "*.h5", "*.nc")

_SEN3 = re.compile(r"S3([A-D])_SL_1_RBT____(\d{8}T\d{6})_\d{8}T\d{6}_(\d{8}T\d{6})_")
_EOPF = re.compile(r"S03SLSRBT_(\d{8}T\d{6})_\d+_([A-D])\d+_")
_SEN3_ORBIT = re.compile(r"S3[A-D]_SL_1_RBT____\d{8}T\d{6}_(\d{8}T\d{6})_\d{8}T\d{6}_\d{4}_(\d{3})_(\d{3})_")
_EOPF_ORBIT = re.compile(r"S03SLSRBT_\d{8}T\d{6}_(\d+)_[A-D](\d+)_")
_PLATFORM = re.compile(r"S3([A-D])")
_BASELINE = re.compile(r"_(\d{3})$")


class Acquisition(NamedTuple):
    """platform: A to D; start: of sensing, YYYYMMDDThhmmss. Two products of one acquisition are one sample."""

    platform: str
    start: str


def form(path: str) -> Optional[Form]:
    """By the name's ending, None for any other."""
    return next((each for each in FORMS if path.rstrip("/").endswith(each.ending)), None)


def is_product(path: str) -> bool:
    """Whether it is a Sentinel-3 product rather than one of the data set's files."""
    return form(path) not in (None, SCENE)


def is_product_folder(name: str) -> bool:
    """Whether a folder of this name holds a product's files."""
    return name.endswith(tuple(each.ending for each in FORMS if each.is_folder))


def stem(path: str) -> str:
    """A product's or scene's name without its endings."""
    name = Path(path).name
    while (ending := form(name)) is not None:
        name = name.removesuffix(ending.ending)
    return name


def acquisition(path: str) -> Optional[Acquisition]:
    """None for a name that does not tell."""
    name = Path(path).name
    if match := _SEN3.match(name):
        return Acquisition(match.group(1), match.group(2))
    if match := _EOPF.match(name):
        return Acquisition(match.group(2), match.group(1))
    return None


def platform(path: str) -> Optional[str]:
    """A to D, None for a name that does not tell. Names of converted and made-up scenes may tell it and not more."""
    known, match = acquisition(path), _PLATFORM.match(Path(path).name)
    return known.platform if known else match.group(1) if match else None


class Acquired(NamedTuple):
    """What a scene's name tells of when and by which satellite it was seen. start, end: in UTC; cycle: of the orbits'
    27 days, relative_orbit: in it; None where the name does not tell."""

    platform: str
    start: datetime
    end: Optional[datetime] = None
    cycle: Optional[int] = None
    relative_orbit: Optional[int] = None

    def attributes(self) -> dict[str, Union[str, int]]:
        """For a file made of the scene, by the names of the Attribute Convention for Data Discovery 1.3."""
        told: dict[str, Union[str, int, None]] = {
            "platform": f"Sentinel-3{self.platform}",
            "instrument": "SLSTR",
            "time_coverage_start": f"{self.start:%Y-%m-%dT%H:%M:%SZ}",
            "time_coverage_end": None if self.end is None else f"{self.end:%Y-%m-%dT%H:%M:%SZ}",
            "cycle": self.cycle,
            "relative_orbit": self.relative_orbit,
        }
        return {name: value for name, value in told.items() if value is not None}


def acquired(path: str) -> Optional[Acquired]:
    """What a product's or scene's name tells; None if it does not tell platform and time."""
    name, found = Path(path).name, acquisition(path)
    if found is None:
        return None
    try:
        start = _utc(found.start)
        if match := _SEN3_ORBIT.match(name):
            return Acquired(found.platform, start, _utc(match[1]), int(match[2]), int(match[3]))
        if match := _EOPF_ORBIT.match(name):
            return Acquired(found.platform, start, start + timedelta(seconds=int(match[1])), None, int(match[2]))
    except (ValueError, OverflowError):  # digits that are no date
        return None
    return Acquired(found.platform, start)


def _utc(digits: str) -> datetime:
    return datetime.strptime(digits, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def baseline(path: str) -> Optional[int]:
    """The processing baseline, None for a name that does not end in one."""
    match = _BASELINE.search(stem(path))
    return int(match.group(1)) if match else None


def age(path: str) -> tuple:
    """What sorts the products of one acquisition, the newest last: by when they were made, then by baseline. EOPF's own
    names tell neither: such a product comes before all others, which hold the Bayesian mask besides."""
    match = _SEN3.match(Path(path).name)
    kind = form(path)
    rank = -1 if kind is None else FORMS.index(kind)
    return match.group(3) if match else "", baseline(path) or 0, rank, Path(path).name


def product_of(path: str) -> str:
    """The product that a path lies in, such as X.SEN3 of X.SEN3/xfdumanifest.xml; other paths as they are."""
    for parent in Path(path).parents:
        if any(fnmatchcase(parent.name, each) for each in FOLDERS):
            outer = parent.parent  # some tools leave X.SEN3/X.SEN3
            return str(outer if outer.name == parent.name else parent)
    return path
