"""A small SEN3 product as the EOPF product that it would become, written by hand."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.sen3.table import GRIDS, TABLE, TABLE_B

NAME = "S03SLSRBT_20200101T101500_00180_B0179_S83A.zarr"


def needs_zarr(form: int) -> None:
    """Skips the test where the package zarr is not installed, or cannot read this format."""
    zarr = pytest.importorskip("zarr", reason="the package zarr is not installed, which reads products in Zarr")
    if form == 3 and int(zarr.__version__.split(".")[0]) < 3:
        pytest.skip(f"zarr {zarr.__version__} does not read format 3")


def _attributes(dataset: h5py.Dataset) -> dict:
    attributes = {}
    for name in ("scale_factor", "add_offset", "units", "_FillValue", "flag_masks", "flag_meanings"):
        if name in dataset.attrs:
            value = dataset.attrs[name]
            value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
            attributes["fill_value" if name == "_FillValue" else name] = value
    if attributes.get("fill_value") != attributes.get("fill_value"):  # NaN, which EOPF leaves out
        del attributes["fill_value"]
    return attributes


def _pack(chunk: bytes, packing: str) -> bytes:
    if not packing:
        return chunk
    import numcodecs

    return bytes({"zstd": numcodecs.Zstd, "blosc": numcodecs.Blosc}[packing]().encode(chunk))


def write_array(folder: Path, values: np.ndarray, attributes: dict, form: int, packing: str = "") -> None:
    """In chunks of the whole height and half the width, rounded up, the last one filled up."""
    folder.mkdir(parents=True)
    *_, width = values.shape
    half = -(-width // 2)
    chunks = (*values.shape[:-1], half)
    dtype = values.dtype.newbyteorder("<")
    names = [*("0",) * (values.ndim - 1)]
    for number in range(-(-width // half)):
        chunk = np.zeros(chunks, dtype)
        part = values[..., number * half : (number + 1) * half]
        chunk[..., : part.shape[-1]] = part
        name = (".", "/")[form - 2].join([*(("c",) if form == 3 else ()), *names, str(number)])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_pack(chunk.tobytes(), packing))
    if form == 2:
        compressor = {
            "": None,
            "zstd": {"id": "zstd", "level": 1},
            "blosc": {"id": "blosc", "cname": "lz4", "clevel": 5},
        }
        about = {"shape": values.shape, "chunks": chunks, "dtype": dtype.str, "compressor": compressor[packing]}
        about |= {"zarr_format": 2, "fill_value": None, "order": "C", "filters": None}
        (folder / ".zarray").write_text(json.dumps(about))
        (folder / ".zattrs").write_text(json.dumps(attributes))
        return
    codecs: list = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if packing == "zstd":
        codecs.append({"name": "zstd", "configuration": {"level": 1, "checksum": False}})
    about = {"shape": values.shape, "data_type": values.dtype.name, "codecs": codecs, "attributes": attributes}
    about |= {"zarr_format": 3, "node_type": "array", "fill_value": 0, "storage_transformers": []}
    about["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": chunks}}
    about["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/"}}
    (folder / "zarr.json").write_text(json.dumps(about))


def to_zarr(product: Path, parent: Path, form: int, packing: str = "", baseline: str = "005") -> Path:
    """The product's arrays by the table, and the root's attributes that say where grids lie."""
    folder, grids = parent / NAME, {}
    for entry in dict.fromkeys((*TABLE.values(), *TABLE_B.values())):
        if not entry.array or not (product / entry.file).is_file():
            continue
        with h5py.File(product / entry.file) as file:
            if entry.variable in file:
                dataset = file[entry.variable]
                write_array(folder / entry.array, dataset[()], _attributes(dataset), form, packing)
                grids[entry.grid] = {each: int(file.attrs[each][0]) for each in ("track_offset", "start_offset")}
                grids[entry.grid]["raster:spatial_resolution"] = int(
                    str(file.attrs["resolution"]).strip("[] ").split()[0]
                )
    shapes = [{"name": GRIDS[grid].title, **values} for grid, values in grids.items()]
    stac = {"collection": baseline, "properties": {"proj:shape": shapes, "created": "2020-01-02T15:15:15Z"}}
    if form == 2:
        (folder / ".zattrs").write_text(json.dumps({"stac_discovery": stac}))
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
    else:
        root = {"attributes": {"stac_discovery": stac}, "zarr_format": 3, "node_type": "group"}
        (folder / "zarr.json").write_text(json.dumps(root))
    return folder
