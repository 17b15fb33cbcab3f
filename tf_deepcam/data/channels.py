"""The 16 fields of a CAM5 sample, in the files' order: CAM's name, its unit, and what it is."""

from typing import NamedTuple


class Channel(NamedTuple):
    """One field."""

    name: str
    unit: str
    meaning: str

    @property
    def title(self) -> str:
        return f"{self.meaning} ({self.name})"


CAM5 = (
    Channel("TMQ", "kg/m2", "integrated water vapour"),
    Channel("U850", "m/s", "eastward wind at 850 hPa"),
    Channel("V850", "m/s", "northward wind at 850 hPa"),
    Channel("UBOT", "m/s", "eastward wind, lowest level"),
    Channel("VBOT", "m/s", "northward wind, lowest level"),
    Channel("QREFHT", "kg/kg", "specific humidity at 2 m"),
    Channel("PS", "Pa", "surface pressure"),
    Channel("PSL", "Pa", "pressure at sea level"),
    Channel("T200", "K", "temperature at 200 hPa"),
    Channel("T500", "K", "temperature at 500 hPa"),
    Channel("PRECT", "m/s", "precipitation"),
    Channel("TS", "K", "surface temperature"),
    Channel("TREFHT", "K", "temperature at 2 m"),
    Channel("Z1000", "m", "height of 1000 hPa"),
    Channel("Z200", "m", "height of 200 hPa"),
    Channel("ZBOT", "m", "height of the lowest level"),
)
