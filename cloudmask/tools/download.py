"""Fetches the benchmark's scenes from their public object store, with nothing but HTTPS: no account, no cloud library.

The store speaks Amazon's S3 protocol; a list is a page of XML with at most 1000 keys and a token for the next one
(ListObjectsV2 in Amazon's reference).
"""

import argparse
from typing import Optional
from urllib.parse import quote
from xml.etree import ElementTree

from common.downloads.command import DownloadOptions, download
from common.downloads.downloader import LONGEST_NAME, Downloader
from common.errors import UserError

# MLCommons Science: the data set cloud_slstr_ds1 of sciml-bench.
STORE = "https://s3.echo.stfc.ac.uk/sciml-datasets"
_PREFIX = "es/cloud_slstr_ds1/"
PARTS = ("training", "inference", "one-day", "ssts")  # the last two are older names, of before April 2026
_MOST_PAGES = 1000


def keys_of(page: str, url: str) -> tuple[list[str], Optional[str]]:
    """The keys on a page of a store's list, and the token of the next page. Raises UserError."""
    if "<!DOCTYPE" in page or "<!ENTITY" in page:  # no store sends one; entities can be made to fill the memory
        raise UserError(f"{url}: answers with an XML document type: not a store's list")
    try:
        root = ElementTree.fromstring(page)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{url}: does not answer with a store's list ({error}): look at the address") from None
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise UserError(f"{url}: answers with <{root.tag[:60]}>, a store's <ListBucketResult> expected")
    keys = [entry.findtext("{*}Key") or "" for entry in root.iterfind("{*}Contents")]
    more = root.findtext("{*}IsTruncated") == "true"
    return keys, (root.findtext("{*}NextContinuationToken") or "") if more else None


def list_keys(downloader: Downloader, store: str, prefix: str) -> list[str]:
    """All keys below `prefix`, over all pages. Raises UserError."""
    first = f"{store}?list-type=2&prefix={quote(prefix, safe='')}"
    url, found = first, dict[str, None]()
    for _ in range(_MOST_PAGES):
        keys, token = keys_of(downloader.page(url), url)
        before = len(found)
        found.update(dict.fromkeys(keys))
        if token is None:
            return sorted(found)
        if len(found) == before or not token:
            raise UserError(f"{first}: the list goes on, but brings nothing new: refused, nothing was fetched")
        url = f"{first}&continuation-token={quote(token, safe='')}"
    raise UserError(f"{first}: the list has more than {_MOST_PAGES} pages: refused, nothing was fetched")


def names_below(keys: list[str], prefix: str, store: str) -> list[str]:
    """Names of scenes below the prefix, such as day/S3A.hdf. Raises UserError for one that would leave the folder."""
    names = []
    for key in keys:
        name = key.removeprefix(prefix)
        if key.endswith("/") or not name.endswith(".hdf"):
            continue
        parts = name.split("/")
        wrong = not key.startswith(prefix) or not name.isprintable() or "\\" in name or len(parts) > 4
        if wrong or any(not part or part.startswith(".") or len(part.encode()) > LONGEST_NAME for part in parts):
            raise UserError(f"{store}: lists a file named {ascii(key)[:100]}: refused, nothing was fetched")
        names.append(name)
    return names


def main(options: argparse.Namespace, first_pause: float = 1.0) -> int:
    """The command. options: part, target_dir, num_files, num_streams, force, url."""
    if options.part not in PARTS:
        raise UserError(f"--part {options.part}: there are {', '.join(PARTS)}")
    store, prefix = (options.url or STORE).rstrip("/"), f"{_PREFIX}{options.part}/"

    def names(downloader: Downloader) -> list[str]:
        found = names_below(list_keys(downloader, store, prefix), prefix, store)[: options.num_files]
        if not found:
            raise UserError(f"{store}: holds no scene below {prefix}; the other parts: {', '.join(PARTS)}")
        return found

    shared = DownloadOptions(options.target_dir, options.num_files, options.num_streams, options.force)
    return download(f"{store}/{prefix}", shared, names, first_pause=first_pause, md5_etags=True)
