"""A product's list of its files with their sizes and checksums, xfdumanifest.xml, and comparing files with it."""

import hashlib
import re
from typing import NamedTuple
from xml.etree import ElementTree

from cloudmask.sen3.files import Container
from cloudmask.sen3.table import TABLE
from common.errors import UserError

NAME = "xfdumanifest.xml"
MOST_BYTES = 4 << 20  # a real one has 0.2 MB
# A mask needs these; of made-up products there is one more that services do not have.
NEEDED = frozenset(entry.file for entry in TABLE.values()) - {TABLE["truth"].file}
_FILE = re.compile(r"[A-Za-z0-9_]{1,100}\.nc")
_MOST_FILE = 1 << 30


class Entry(NamedTuple):
    """A file of a product, in bytes; md5: hexadecimal."""

    file: str
    bytes: int
    md5: str


def parse(content: bytes, where: str) -> dict[str, Entry]:
    """The files of a manifest by name. Raises UserError for one that is not a product's, or that lists odd names."""
    try:
        text = content.decode("utf-8")
        if len(content) > MOST_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities can fill the memory
            raise UserError(f"{where}: is no manifest of a product: too long, or with a document type of its own")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{where}: cannot be read as XML ({error})") from None
    entries = {}
    for stream in root.iter("byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        href = "" if location is None else location.get("href", "")
        size, md5 = stream.get("size", ""), "" if checksum is None else (checksum.text or "").strip().lower()
        kind = "" if checksum is None else checksum.get("checksumName", "")
        file = href.removeprefix("./")
        valid = _FILE.fullmatch(file) and re.fullmatch(r"\d{1,12}", size) and re.fullmatch(r"[0-9a-f]{32}", md5)
        if not valid or kind.upper() != "MD5" or int(size) > _MOST_FILE:
            raise UserError(f"{where}: lists {ascii(href)[:100]} with size {ascii(size)[:30]} and {ascii(kind)[:30]}")
        entries[file] = Entry(file, int(size), md5)
    if not entries.keys() & NEEDED:
        raise UserError(f"{where}: lists none of the files that a mask needs")
    return entries


def needed(entries: dict[str, Entry]) -> list[Entry]:
    """Those of them that a mask needs and the product has: a product of the night may lack some."""
    return [entries[file] for file in sorted(entries.keys() & NEEDED)]


def compare(container: Container, *, whole: bool) -> int:
    """Compare a product's files with its manifest.

    Args:
        container: the product.
        whole: whether it should have all files of the manifest, or those that a mask needs.

    Returns:
        How many files were compared.

    Raises:
        UserError: naming the first file that differs or is missing.
    """
    if not container.has(NAME):
        raise UserError(f"{container.where}: {NAME} is missing")
    entries = parse(container.read(NAME, MOST_BYTES), f"{container.where}/{NAME}")
    files = list(entries.values()) if whole else needed(entries)
    for entry in files:
        where = f"{container.where}/{entry.file}"
        if not container.has(entry.file):
            raise UserError(f"{where}: is missing, the manifest lists it")
        content = container.read(entry.file, entry.bytes)
        if len(content) != entry.bytes or hashlib.md5(content, usedforsecurity=False).hexdigest() != entry.md5:
            raise UserError(f"{where}: its checksum is not the manifest's")
    return len(files)
