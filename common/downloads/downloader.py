"""Files below one address of a web server, over HTTP(S), gone on with after any break.

A file is written as `.NAME.KEY.part`, where KEY stands for the server's size and version of it, and takes its name
when it is whole: a download that was stopped goes on where it ended, unless the server's file has changed. Whatever a
server sends is bounded: by the size that it announced, by the free space, in time and in redirects.
"""

import hashlib
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote, urljoin, urlsplit

import requests
from rich.progress import Progress

from common.errors import UserError, printable, storage_problem

_ATTEMPTS = 8  # in a row without a byte
_LONGEST_PAUSE = 60.0  # seconds
_TIMEOUTS = (20, 60)  # seconds: to connect, and between two packets
_BLOCK = 1 << 16  # bytes; what is lost at most when a connection breaks
LONGEST_NAME = 200  # bytes; with the parts that a temporary name adds, what file systems take
_LONGEST_PAGE = 64 << 20  # bytes
_MOST_REDIRECTS = 5
# What no other attempt would mend.
_HOPELESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
    UnicodeError,
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


class _TroubleError(Exception):
    """Worth another attempt. `wait`: seconds the server asked for."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """A file as the server describes it."""

    bytes: int
    key: str  # changes when the file does
    md5: str = ""  # of its content, where the server tells


class Downloader:
    """Fetches files below one address of a server. Used by several threads; `progress` may be given to show it."""

    def __init__(self, url: str, target: Path, first_pause: float, progress: Progress, md5_etags: bool = False):
        """first_pause: seconds before the second attempt, doubled for each further one.

        md5_etags: the server's ETags are MD5 checksums where they look like one, as those of S3 stores are.
        """
        self._url, self._target, self._first_pause, self._progress = url, target, first_pause, progress
        self._md5_etags = md5_etags
        self.bytes = self.retries = 0
        self._hosts: set[str] = set()
        self._counting, self._stopped = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """End every thread's work soon; what is there is kept."""
        self._stopped.set()

    def get(self, session: requests.Session, url: str, *, method: str = "GET", **headers: str) -> requests.Response:
        """One request. Raises _TroubleError if another attempt may help, UserError if not."""
        try:
            # Compressed transfer would make sizes and offsets those of another stream.
            headers = {"Accept-Encoding": "identity", **headers}
            session.max_redirects = _MOST_REDIRECTS
            reply = session.request(method, url, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=True)
        except _HOPELESS as error:
            raise UserError(f"{url}: cannot be asked for ({str(error)[:200]})") from error
        except requests.RequestException as error:
            raise _TroubleError(f"{type(error).__name__}: no answer") from error
        self._note_redirect(url, reply)
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            reply.close()
            raise UserError(
                f"{url}: the server sends it compressed, though that was not asked for: sizes would not fit"
            )
        if reply.status_code in (408, 429) or reply.status_code >= 500:
            wait = reply.headers.get("Retry-After", "")
            reply.close()
            asked = float(wait) if wait.isdigit() and len(wait) < 6 else 0.0
            raise _TroubleError(f"HTTP {reply.status_code}", min(asked, _LONGEST_PAUSE))
        if reply.status_code >= 400 and reply.status_code != 416:
            reply.close()
            raise UserError(f"{url}: the server answers HTTP {reply.status_code} {reply.reason}")
        return reply

    def _note_redirect(self, url: str, reply: requests.Response) -> None:
        """Say once which other server answers."""
        host = urlsplit(reply.url).netloc
        with self._counting:
            if host != urlsplit(url).netloc and host not in self._hosts:
                self._hosts.add(host)
                print(f"{url}: the server sends us on to {printable(host)}", flush=True)

    def persist(self, what: str, attempt, size_so_far=lambda: 0):
        """Call `attempt` until it succeeds; gives up after several attempts in a row that brought no byte."""
        pause, failures, before = self._first_pause, 0, size_so_far()
        while True:
            try:
                return attempt()
            except _TroubleError as trouble:
                now = size_so_far()
                failures = failures + 1 if now <= before else 1
                if now > before:
                    pause, before = self._first_pause, now
                if failures >= _ATTEMPTS:
                    raise UserError(
                        f"{what}: gave up after {failures} attempts in a row ({trouble}); what is there is kept, "
                        "the same command goes on from it"
                    ) from trouble
                with self._counting:
                    self.retries += 1
                if self._stopped.wait(max(pause, trouble.wait)):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    def page(self, url: Optional[str] = None) -> str:
        """The text at an address, by default the folder's own, such as its list of files."""
        url = url or self._url

        def attempt() -> str:
            with requests.Session() as session, self.get(session, url) as reply:
                page = b""
                try:
                    for block in reply.iter_content(_BLOCK):
                        page += block
                        if len(page) > _LONGEST_PAGE:
                            raise UserError(f"{url}: the page is longer than {_LONGEST_PAGE} bytes: no list of files")
                except requests.RequestException as error:
                    raise _TroubleError("the connection broke") from error
                return page.decode(reply.encoding or "utf-8", "replace")

        return self.persist(url, attempt)

    def fetch(self, name: str) -> bool:
        """Bring one file into the target folder; False if it was there, whole. Raises UserError.

        name: below the address, and below the target folder; folders in it are made.
        """
        url, final = urljoin(self._url, quote(name)), self._target / name
        with requests.Session() as session:
            remote = self.persist(url, lambda: self._describe(session, url))
            if final.exists():
                if final.stat().st_size != remote.bytes:
                    raise UserError(
                        f"{final}: exists with {final.stat().st_size} bytes, the server's has {remote.bytes}; it is "
                        "left as it is: move it away to fetch it anew"
                    )
                return False
            part = final.with_name(f".{final.name}.{remote.key}.part")
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                free, there = shutil.disk_usage(self._target).free, _size(part)
                if remote.bytes - there > free:
                    raise UserError(f"{final}: {remote.bytes - there} bytes are missing, {free} are free on this disk")
                task = self._progress.add_task(name, total=remote.bytes, completed=there)
                self.persist(url, lambda: self._go_on(session, url, part, remote, task), lambda: _size(part))
                self._progress.remove_task(task)
                _check_whole(part, remote, url)
                os.replace(part, final)
            except OSError as error:
                raise UserError(f"{final}: cannot be written ({storage_problem(error, final.parent)})") from error
        return True

    def _describe(self, session: requests.Session, url: str) -> Remote:
        with self.get(session, url, method="HEAD") as reply:
            size = reply.headers.get("Content-Length", "")
            version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if not size.isdigit() or len(size) > 18:
            raise UserError(f"{url}: the server does not tell the file's size, so a broken file could not be noticed")
        key = hashlib.sha256(f"{url} {size} {version}".encode()).hexdigest()[:12]
        # An object that was stored in parts has another kind of ETag, with a dash.
        md5 = version.strip('"') if self._md5_etags and re.fullmatch(r'"?[0-9a-f]{32}"?', version) else ""
        return Remote(int(size), key, md5)

    def _go_on(self, session: requests.Session, url: str, part: Path, remote: Remote, task) -> None:
        """Append what is missing to `part`."""
        start = _size(part)
        if start > remote.bytes:
            part.unlink()
            start = 0
        if start == remote.bytes and part.exists():
            return
        with self.get(session, url, **({"Range": f"bytes={start}-"} if start else {})) as reply:
            if start and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0  # the server sends the file from its beginning, whatever was asked for
            self._progress.update(task, completed=start)
            with open(part, "ab") as file:
                file.truncate(start)
                try:
                    for block in reply.iter_content(_BLOCK):
                        if file.tell() + len(block) > remote.bytes:
                            raise UserError(f"{url}: more than the {remote.bytes} bytes come that the server announced")
                        file.write(block)
                        with self._counting:
                            self.bytes += len(block)
                        self._progress.advance(task, len(block))
                        if self._stopped.is_set():
                            return
                except requests.RequestException as error:
                    raise _TroubleError("the connection broke") from error
        if _size(part) < remote.bytes and not self._stopped.is_set():
            raise _TroubleError("the connection ended early")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_whole(part: Path, remote: Remote, url: str) -> None:
    size = _size(part)
    with open(part, "rb") as file:
        begins = file.read(len(_HDF5))
    wrong_sum = remote.md5 and size == remote.bytes and _md5(part) != remote.md5
    if size != remote.bytes or begins != _HDF5 or wrong_sum:
        what = "its checksum is not the one that the server tells" if wrong_sum else "it is not an HDF5 file"
        what = f"{size} bytes came, {remote.bytes} were announced" if size != remote.bytes else what
        part.unlink()
        raise UserError(f"{url}: {what}; it was thrown away: look at the address in a browser, then start again")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
