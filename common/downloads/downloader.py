"""Download of the files below one address of a web server, over HTTP(S), resumed after any interruption.

A file is written as `.NAME.KEY.part`, where KEY stands for the server's size and version of it, and gets its name when
it is complete: a download that was stopped is resumed where it ended, unless the server's file has changed. Whatever a
server sends is limited: by the size that it announced, by the free space, in time and in redirects.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote, urljoin

import requests
from rich.progress import Progress

from common.downloads.client import Client, Size, Source, length, public
from common.errors import UserError, storage_problem

LONGEST_NAME = 200  # bytes; file systems allow 255, some of which the temporary name needs
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Remote:
    """A file as the server describes it."""

    bytes: int
    key: str  # changes when the file does
    md5: str = ""  # of its content, if the server gives it


class Downloader(Client):
    """Fetches files below one address of a server; safe to use from several threads."""

    def __init__(self, url: str, target: Path, first_pause: float, progress: Progress, md5_etags: bool = False):
        """Create a downloader; nothing is requested yet.

        Args:
            url: address below which the files are, which ends in a slash.
            target: folder for the files.
            first_pause: seconds before the second attempt at a request, doubled for each further one.
            progress: shows each file's progress.
            md5_etags: whether ETags that look like MD5 checksums are such, as in S3 stores.
        """
        super().__init__(first_pause, progress)
        self._url, self._target, self._md5_etags = url, target, md5_etags

    def page(self, url: Optional[str] = None) -> str:
        """Fetch the text at an address, by default the downloader's own, such as a list of files."""
        return self.read(public(url or self._url)).decode("utf-8", "replace")

    def fetch(self, name: str) -> bool:
        """Fetch one file into the target folder.

        Args:
            name: path below the address and below the target folder; its folders are created.

        Returns:
            False if the complete file was there already.

        Raises:
            UserError: if it cannot be fetched or written, or a file of another size is there.
        """
        url, final = urljoin(self._url, quote(name)), self._target / name
        source = public(url)
        with requests.Session() as session:
            remote = self.persist(url, lambda: self._describe(session, source))
            if final.exists():
                if final.stat().st_size != remote.bytes:
                    raise UserError(
                        f"{final}: exists with {final.stat().st_size} bytes, the server's has {remote.bytes}; it is "
                        "left as it is: move it away to fetch it again"
                    )
                return False
            part = final.with_name(f".{final.name}.{remote.key}.part")
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                free, received = shutil.disk_usage(self._target).free, length(part)
                missing = remote.bytes - received
                if missing > free:
                    raise UserError(
                        f"{final}: {missing} bytes are still to be fetched, but only {free} are free on this disk"
                    )
                task = self.progress.add_task(name, total=remote.bytes, completed=received)
                size = Size(remote.bytes, remote.bytes)
                self.persist(url, lambda: self.receive(session, source, part, size, task), lambda: length(part))
                self.progress.remove_task(task)
                _check_complete(part, remote, url)
                os.replace(part, final)
            except OSError as error:
                raise UserError(f"{final}: cannot be written ({storage_problem(error, final.parent)})") from error
        return True

    def _describe(self, session: requests.Session, source: Source) -> Remote:
        """Ask the server for a file's size and version."""
        with self.get(session, source, method="HEAD") as reply:
            size = reply.headers.get("Content-Length", "")
            version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if not size.isdigit() or len(size) > 18:
            raise UserError(
                f"{source.shown}: the server does not give the file's size, so a damaged file could not be detected"
            )
        key = hashlib.sha256(f"{source.shown} {size} {version}".encode()).hexdigest()[:12]
        # An object that was uploaded in parts has another kind of ETag, with a dash.
        md5 = version.strip('"') if self._md5_etags and re.fullmatch(r'"?[0-9a-f]{32}"?', version) else ""
        return Remote(int(size), key, md5)


def _check_complete(part: Path, remote: Remote, url: str) -> None:
    """Raise UserError, and remove the file, if it is not the one that the server announced or not an HDF5 file."""
    size = length(part)
    with open(part, "rb") as file:
        signature = file.read(len(_HDF5))
    wrong_sum = remote.md5 and size == remote.bytes and md5_of(part) != remote.md5
    if size != remote.bytes or signature != _HDF5 or wrong_sum:
        what = "its checksum is not the one that the server gives" if wrong_sum else "it is not an HDF5 file"
        what = f"{size} bytes were received, {remote.bytes} were announced" if size != remote.bytes else what
        part.unlink()
        raise UserError(
            f"{url}: {what}; it was deleted: open the address in a browser to see what it sends, then start again"
        )


def md5_of(path: Path) -> str:
    """The MD5 checksum of a file, in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
