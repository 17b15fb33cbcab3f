"""Download of the files below one address of a web server, over HTTP(S), resumed after any interruption.

A file is written as `.NAME.KEY.part`, where KEY stands for the server's size and version of it, and gets its name when
it is complete: a download that was stopped is resumed where it ended, unless the server's file has changed. Whatever a
server sends is limited: by the size that it announced, by the free space, in time and in redirects.
"""

import fcntl
import hashlib
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional
from urllib.parse import quote, urljoin, urlsplit

import requests
from rich.progress import Progress

from common.errors import UserError, printable, storage_problem

_ATTEMPTS = 8  # in a row that receive no data
_LONGEST_PAUSE = 60.0  # seconds
_TIMEOUTS = (20, 60)  # seconds: to connect, and between two packets
_BLOCK = 1 << 16  # bytes; the most that is lost when a connection breaks
LONGEST_NAME = 200  # bytes; file systems allow 255, some of which the temporary name needs
_LONGEST_PAGE = 64 << 20  # bytes
_MOST_REDIRECTS = 5
# Errors that another attempt would not resolve.
_PERMANENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
    UnicodeError,
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


class _TemporaryError(Exception):
    """An error after which another attempt may succeed; `wait`: seconds that the server asked to wait."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """A file as the server describes it."""

    bytes: int
    key: str  # changes when the file does
    md5: str = ""  # of its content, if the server gives it


class Downloader:
    """Fetches files below one address of a server; safe to use from several threads.

    Attributes:
        bytes: received so far.
        retries: requests that were repeated.
    """

    def __init__(self, url: str, target: Path, first_pause: float, progress: Progress, md5_etags: bool = False):
        """Create a downloader; nothing is requested yet.

        Args:
            url: address below which the files are, which ends in a slash.
            target: folder for the files.
            first_pause: seconds before the second attempt at a request, doubled for each further one.
            progress: shows each file's progress.
            md5_etags: whether ETags that look like MD5 checksums are such, as in S3 stores.
        """
        self._url, self._target, self._first_pause, self._progress = url, target, first_pause, progress
        self._md5_etags = md5_etags
        self.bytes = self.retries = 0
        self._hosts: set[str] = set()
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """Make all threads end soon; what they received is kept."""
        self._stopped.set()

    def get(self, session: requests.Session, url: str, *, method: str = "GET", **headers: str) -> requests.Response:
        """Send one request. Raises _TemporaryError if another attempt may succeed, UserError if not."""
        try:
            # With compression, sizes and offsets would be those of the compressed stream.
            headers = {"Accept-Encoding": "identity", **headers}
            session.max_redirects = _MOST_REDIRECTS
            reply = session.request(method, url, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=True)
        except _PERMANENT as error:
            raise UserError(f"{url}: cannot be requested ({str(error)[:200]})") from error
        except requests.RequestException as error:
            raise _TemporaryError(f"{type(error).__name__}: no answer") from error
        self._note_redirect(url, reply)
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            reply.close()
            raise UserError(
                f"{url}: the server sends it compressed, although that was not requested, so sizes cannot be checked"
            )
        if reply.status_code in (408, 429) or reply.status_code >= 500:
            retry_after = reply.headers.get("Retry-After", "")
            reply.close()
            wait = float(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 0.0
            raise _TemporaryError(f"HTTP {reply.status_code}", min(wait, _LONGEST_PAUSE))
        if reply.status_code >= 400 and reply.status_code != 416:
            reply.close()
            raise UserError(f"{url}: the server answers HTTP {reply.status_code} {reply.reason}")
        return reply

    def _note_redirect(self, url: str, reply: requests.Response) -> None:
        """Print once that another server answers."""
        host = urlsplit(reply.url).netloc
        with self._lock:
            if host != urlsplit(url).netloc and host not in self._hosts:
                self._hosts.add(host)
                print(f"{url}: the server redirects to {printable(host)}", flush=True)

    def persist(self, what: str, attempt, size_so_far=lambda: 0):
        """Call `attempt` until it succeeds.

        Args:
            what: beginning of the error message.
            attempt: raises _TemporaryError if it should be repeated.
            size_so_far: bytes received; failed attempts that increase it do not count as failures in a row.

        Returns:
            What `attempt` returns.

        Raises:
            UserError: after several failed attempts in a row.
        """
        pause, failures, before = self._first_pause, 0, size_so_far()
        while True:
            try:
                return attempt()
            except _TemporaryError as error:
                now = size_so_far()
                failures = failures + 1 if now <= before else 1
                if now > before:
                    pause, before = self._first_pause, now
                if failures >= _ATTEMPTS:
                    raise UserError(
                        f"{what}: gave up after {failures} attempts in a row ({error}); what was received "
                        "is kept, and the same command resumes from it"
                    ) from error
                with self._lock:
                    self.retries += 1
                if self._stopped.wait(max(pause, error.wait)):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    def page(self, url: Optional[str] = None) -> str:
        """Fetch the text at an address, by default the downloader's own, such as a list of files."""
        url = url or self._url

        def attempt() -> str:
            with requests.Session() as session, self.get(session, url) as reply:
                page = b""
                try:
                    for block in reply.iter_content(_BLOCK):
                        page += block
                        if len(page) > _LONGEST_PAGE:
                            raise UserError(
                                f"{url}: the page is longer than {_LONGEST_PAGE} bytes, so it is not a list of files"
                            )
                except requests.RequestException as error:
                    raise _TemporaryError("the connection broke") from error
                return page.decode(reply.encoding or "utf-8", "replace")

        return self.persist(url, attempt)

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
        with requests.Session() as session:
            remote = self.persist(url, lambda: self._describe(session, url))
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
                free, received = shutil.disk_usage(self._target).free, _size(part)
                missing = remote.bytes - received
                if missing > free:
                    raise UserError(
                        f"{final}: {missing} bytes are still to be fetched, but only {free} are free on this disk"
                    )
                task = self._progress.add_task(name, total=remote.bytes, completed=received)
                self.persist(url, lambda: self._resume(session, url, part, remote, task), lambda: _size(part))
                self._progress.remove_task(task)
                _check_complete(part, remote, url)
                os.replace(part, final)
            except OSError as error:
                raise UserError(f"{final}: cannot be written ({storage_problem(error, final.parent)})") from error
        return True

    def _describe(self, session: requests.Session, url: str) -> Remote:
        """Ask the server for a file's size and version."""
        with self.get(session, url, method="HEAD") as reply:
            size = reply.headers.get("Content-Length", "")
            version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if not size.isdigit() or len(size) > 18:
            raise UserError(f"{url}: the server does not give the file's size, so a damaged file could not be detected")
        key = hashlib.sha256(f"{url} {size} {version}".encode()).hexdigest()[:12]
        # An object that was uploaded in parts has another kind of ETag, with a dash.
        md5 = version.strip('"') if self._md5_etags and re.fullmatch(r'"?[0-9a-f]{32}"?', version) else ""
        return Remote(int(size), key, md5)

    def _resume(self, session: requests.Session, url: str, part: Path, remote: Remote, task) -> None:
        """Append what `part` lacks."""
        start = _size(part)
        if start > remote.bytes:
            part.unlink()
            start = 0
        if start == remote.bytes and part.exists():
            return
        with self.get(session, url, **({"Range": f"bytes={start}-"} if start else {})) as reply:
            if start and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0  # the server ignores the range and sends the whole file
            self._progress.update(task, completed=start)
            with open(part, "ab") as file:
                _claim(file, start)
                file.truncate(start)
                try:
                    for block in reply.iter_content(_BLOCK):
                        if file.tell() + len(block) > remote.bytes:
                            raise UserError(
                                f"{url}: the server sends more than the {remote.bytes} bytes that it announced"
                            )
                        file.write(block)
                        with self._lock:
                            self.bytes += len(block)
                        self._progress.advance(task, len(block))
                        if self._stopped.is_set():
                            return
                except requests.RequestException as error:
                    raise _TemporaryError("the connection broke") from error
        if _size(part) < remote.bytes and not self._stopped.is_set():
            raise _TemporaryError("the connection ended early")


def _claim(file: BinaryIO, start: int) -> None:
    """Lock a file that is being fetched: what two programs append would be mixed. Raises UserError, _TemporaryError."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{file.name}: another program is fetching this file; wait for it, or stop it") from None
    except OSError:
        pass  # a file system without locks
    if os.fstat(file.fileno()).st_size < start:  # it has just been completed by another, and this is a new one
        raise _TemporaryError("the file was replaced")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_complete(part: Path, remote: Remote, url: str) -> None:
    """Raise UserError, and remove the file, if it is not the one that the server announced or not an HDF5 file."""
    size = _size(part)
    with open(part, "rb") as file:
        signature = file.read(len(_HDF5))
    wrong_sum = remote.md5 and size == remote.bytes and _md5(part) != remote.md5
    if size != remote.bytes or signature != _HDF5 or wrong_sum:
        what = "its checksum is not the one that the server gives" if wrong_sum else "it is not an HDF5 file"
        what = f"{size} bytes were received, {remote.bytes} were announced" if size != remote.bytes else what
        part.unlink()
        raise UserError(
            f"{url}: {what}; it was deleted: open the address in a browser to see what it sends, then start again"
        )


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
