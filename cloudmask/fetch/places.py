"""Where a service keeps a product's files: single ones where it gives them, else one archive.

store     objects of an S3 bucket
entries   files that the search lists with their addresses, as EUMETSAT's Data Store does
nodes     files below the product's own address, as the Copernicus Data Space Ecosystem and CREODIAS serve them
archive   the whole product as one zip archive
"""

import re
from pathlib import PurePosixPath
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote, unquote, urlsplit

from cloudmask.fetch import manifest
from cloudmask.fetch.catalogue import Offer
from common.downloads.client import Source
from common.errors import UserError

_ODATA = re.compile(r"(https?://\S+/Products\([^()/]+\))/\$value")


class Place(NamedTuple):
    """Where single files are. source: of a file of the product by its name, None if it is not listed."""

    kind: str
    source: Callable[[str], Optional[Source]]


def single_files(offer: Offer) -> Optional[Place]:
    """None where the service does not give single files."""
    listed = _listed(offer.product)
    if manifest.NAME in listed:
        kind = "store" if listed[manifest.NAME].startswith("s3://") else "entries"

        def source(file: str) -> Optional[Source]:
            return _source(listed[file], offer, file) if file in listed else None

        return Place(kind, source)
    match = _ODATA.fullmatch(str(offer.product.remote_location))
    if match is None or _is_ordered(offer.product):
        return None
    return Place("nodes", lambda file: _source(f"{match[1]}/Nodes({offer.name})/Nodes({file})/$value", offer, file))


def archive(offer: Offer) -> Optional[Source]:
    """None where eodag has to fetch it: it is ordered first, or the service speaks neither HTTP nor S3."""
    address = str(offer.product.remote_location)
    if not address.startswith(("http://", "https://")) or _is_ordered(offer.product):
        return None
    status = offer.product.properties.get("order:status")
    if status == "orderable":
        raise UserError(f"{offer.name}: is in {offer.provider}'s long-term archive: order it there first")
    return _source(address, offer, "")


def _is_ordered(product: Any) -> bool:
    return bool(getattr(product.downloader.config, "order_enabled", False))


def _listed(product: Any) -> dict[str, str]:
    """Addresses of the files that a search lists, by the last part of each: of the path, or of what is asked for."""
    listed = {}
    for asset in product.assets.values():
        address = str(asset.get("href", ""))
        if address.startswith(("http://", "https://", "s3://")):
            listed[PurePosixPath(unquote(address)).name] = address
    return listed


def _source(address: str, offer: Offer, file: str) -> Source:
    shown = f"{offer.provider}: {offer.name}{f'/{file}' if file else ''}"
    login = offer.login
    if not address.startswith("s3://"):
        return Source(shown, lambda refused: (_quoted(address), login.signature(address, refused)))
    parts = urlsplit(address)
    return Source(shown, lambda refused: login.of_store(parts.netloc, parts.path.lstrip("/")))


def _quoted(address: str) -> str:
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]")
