"""Requests to web servers: repeated while that may help, resumed after breaks, and limited in everything.

Whatever a server sends is limited: by the size that is expected of it, in time and in redirects. What messages show of
an address is set apart from the address itself, which may hold a token or a signature.
"""

import fcntl
import os
import threading
from pathlib import Path
from typing import BinaryIO, Callable, NamedTuple, Optional, TypeVar

import requests
from requests.auth import AuthBase
from rich.progress import Progress, TaskID

from common.errors import UserError, printable

_ATTEMPTS = 8  # in a row that receive no data
_LONGEST_PAUSE = 60.0  # seconds
_TIMEOUTS = (20, 60)  # seconds: to connect, and between two packets
_BLOCK = 1 << 16  # bytes; the most that is lost when a connection breaks
LONGEST_PAGE = 64 << 20  # bytes
_MOST_REDIRECTS = 5
# Errors that another attempt would not resolve.
_PERMANENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
    UnicodeError,
)
Result = TypeVar("Result")


class TemporaryError(Exception):
    """An error after which another attempt may succeed; `wait`: seconds that the server asked to wait."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


class RefusedError(UserError):
    """The server has answered, and would answer the same again; `code`: of HTTP."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class Source(NamedTuple):
    """A place on a server.

    Attributes:
        shown: its name in messages, without anything secret.
        now: gives the address and what signs the request, asked before every request because both expire. Its argument
            is what the server has just refused (HTTP 401), None at first.
    """

    shown: str
    now: Callable[[Optional[AuthBase]], tuple[str, Optional[AuthBase]]]


def public(url: str) -> Source:
    """An address that needs no login and may be shown."""
    return Source(url, lambda refused: (url, None))


class Size(NamedTuple):
    """What a file may have in bytes. exact: None if it is not known before."""

    exact: Optional[int]
    most: int


class Client:
    """Requests files and pages; safe to use from several threads.

    Attributes:
        bytes: received so far.
        retries: requests that were repeated.
    """

    def __init__(self, first_pause: float, progress: Progress):
        """first_pause: seconds before the second attempt at a request, doubled for each further one."""
        self._first_pause, self.progress = first_pause, progress
        self.bytes = self.retries = 0
        self._hosts: set[str] = set()
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """Make all threads end soon; what they received is kept."""
        self._stopped.set()

    def get(
        self, session: requests.Session, source: Source, *, method: str = "GET", **headers: str
    ) -> requests.Response:
        """Send one request. Raises TemporaryError if another attempt may succeed, UserError if not."""
        url, auth = source.now(None)
        reply = self._request(session, source, method, url, auth, headers)
        if reply.status_code == 401 and auth is not None:  # the token has expired before its time
            reply.close()
            url, auth = source.now(auth)
            reply = self._request(session, source, method, url, auth, headers)
        self._note_redirect(source, url, reply)
        problem = _problem(source, reply)
        if problem is not None:
            reply.close()
            raise problem
        return reply

    @staticmethod
    def _request(
        session: requests.Session, source: Source, method: str, url: str, auth: Optional[AuthBase], headers: dict
    ) -> requests.Response:
        session.max_redirects = _MOST_REDIRECTS
        # With compression, sizes and offsets would be those of the compressed stream.
        headers = {"Accept-Encoding": "identity", **headers}
        try:
            return session.request(method, url, headers=headers, auth=auth, stream=True, timeout=_TIMEOUTS)
        except _PERMANENT as error:
            detail = str(error)[:200] if source.shown == url else type(error).__name__
            raise UserError(f"{source.shown}: cannot be requested ({detail})") from None
        except requests.RequestException as error:
            raise TemporaryError(f"{type(error).__name__}: no answer") from None

    def _note_redirect(self, source: Source, url: str, reply: requests.Response) -> None:
        """Print once that another server answers."""
        host = _host(reply.url)
        with self._lock:
            if host != _host(url) and host not in self._hosts:
                self._hosts.add(host)
                print(f"{source.shown}: the server redirects to {printable(host)}", flush=True)

    def persist(self, what: str, attempt: Callable[[], Result], size_so_far: Callable[[], int] = lambda: 0) -> Result:
        """Call `attempt` until it succeeds.

        Args:
            what: beginning of the error message.
            attempt: raises TemporaryError if it should be repeated.
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
            except TemporaryError as error:
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

    def read(self, source: Source, most: Optional[int] = None) -> bytes:
        """Fetch what is at an address, such as a list of files. Raises UserError if it is longer than `most` bytes."""
        longest = most or LONGEST_PAGE

        def attempt() -> bytes:
            with requests.Session() as session, self.get(session, source) as reply:
                page = b""
                try:
                    for block in reply.iter_content(_BLOCK):
                        page += block
                        if len(page) > longest:
                            raise UserError(
                                f"{source.shown}: the page is longer than {longest} bytes, so it is not a list of files"
                            )
                except requests.RequestException as error:
                    raise TemporaryError("the connection broke") from error
                return page

        return self.persist(source.shown, attempt)

    def receive(self, session: requests.Session, source: Source, part: Path, size: Size, task: TaskID) -> None:
        """Append to a file what it lacks of the server's.

        Raises:
            TemporaryError: if it is not whole then.
            UserError: if the server sends more than `size` allows.
        """
        start = length(part)
        if start > (size.most if size.exact is None else size.exact):
            part.unlink()
            start = 0
        if start == size.exact and part.exists():
            return
        with self.get(session, source, **({"Range": f"bytes={start}-"} if start else {})) as reply:
            if reply.status_code == 416:  # nothing follows, or it is shorter now
                if reply.headers.get("Content-Range") != f"bytes */{start}":
                    part.unlink(missing_ok=True)
                    raise TemporaryError("the server has no such part of it")
                return
            if start and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0  # the server ignores the range and sends the whole file
            announced = reply.headers.get("Content-Length", "")
            whole = start + int(announced) if announced.isdigit() and len(announced) < 19 else None
            end = whole if size.exact is None else size.exact
            most = size.most if end is None else end
            if most > size.most:
                raise UserError(f"{source.shown}: the server announces {most} bytes, {size.most} at most expected")
            self.progress.update(task, completed=start, total=end)
            self._append(reply, source, part, start, most, task)
        if end is not None and length(part) < end and not self._stopped.is_set():
            raise TemporaryError("the connection ended early")

    def _append(
        self, reply: requests.Response, source: Source, part: Path, start: int, most: int, task: TaskID
    ) -> None:
        """Write what a reply brings behind the first `start` bytes of a file."""
        with open(part, "ab") as file:
            _claim(file, start)
            file.truncate(start)
            try:
                for block in reply.iter_content(_BLOCK):
                    if file.tell() + len(block) > most:
                        raise UserError(
                            f"{source.shown}: the server sends more than the {most} bytes that it announced"
                        )
                    file.write(block)
                    with self._lock:
                        self.bytes += len(block)
                    self.progress.advance(task, len(block))
                    if self._stopped.is_set():
                        return
            except requests.RequestException as error:
                raise TemporaryError("the connection broke") from error


def _claim(file: BinaryIO, start: int) -> None:
    """Lock a file that is being fetched: what two programs append would be mixed. Raises UserError, TemporaryError."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{file.name}: another program is fetching this file; wait for it, or stop it") from None
    except OSError:
        pass  # a file system without locks
    if os.fstat(file.fileno()).st_size < start:  # it has just been completed by another, and this is a new one
        raise TemporaryError("the file was replaced")


def _problem(source: Source, reply: requests.Response) -> Optional[Exception]:
    """What is wrong with a server's answer, None if nothing is."""
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        return UserError(
            f"{source.shown}: the server sends it compressed, although that was not requested, so sizes cannot be "
            "checked"
        )
    if reply.status_code in (408, 429) or reply.status_code >= 500:
        retry_after = reply.headers.get("Retry-After", "")
        wait = float(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 0.0
        return TemporaryError(f"HTTP {reply.status_code}", min(wait, _LONGEST_PAUSE))
    if reply.status_code >= 400 and reply.status_code != 416:
        line = f"{source.shown}: the server answers HTTP {reply.status_code} {reply.reason}"
        return RefusedError(line, reply.status_code)
    return None


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0]


def length(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
