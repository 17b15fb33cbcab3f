"""A benchmark's download command: several streams, progress, one line at the end. What there is to fetch the benchmark
finds out, from an index page or from a store's list.
"""

import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from common.data.files import make_folder
from common.downloads.downloader import Downloader
from common.errors import UserError

MAX_STREAMS = 4  # what a public server may be asked for
_SILENCE = 5.0  # seconds without a byte after which that is said


def check_address(url: str) -> None:
    """Raises UserError for what is not the address of a web server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError as error:  # such as a port of 99999
        raise UserError(f"{url}: is not an address ({error})") from error
    if not valid:
        raise UserError(f"{url}: an address that begins with http:// or https:// and a server's name expected")


def fetch_all(downloader: Downloader, names: list, streams: int, progress: Progress) -> int:
    """How many files were fetched. The first error ends all streams; what they brought is kept for the next time."""
    files = progress.add_task(f"0 of {len(names)} files", total=None)
    fetched = 0
    with ThreadPoolExecutor(streams, thread_name_prefix="download") as threads:
        jobs = [threads.submit(downloader.fetch, name) for name in names]
        waiting, before = set(jobs), -1
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=_SILENCE, return_when=FIRST_COMPLETED)
                fetched += sum(job.result() for job in finished)
                done = len(jobs) - len(waiting)
                progress.update(files, description=f"{done} of {len(names)} files", completed=downloader.bytes)
                if not finished and not sys.stdout.isatty():
                    silent = "; the server is silent" if downloader.bytes == before else ""
                    print(f"  {done} of {len(names)} files, {downloader.bytes / 1e9:.3f} GB{silent}", flush=True)
                before = downloader.bytes
        except BaseException:
            downloader.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return fetched


class Wanted(NamedTuple):
    """What every download command takes."""

    target_dir: str
    num_files: Optional[int]  # None is all
    num_streams: int
    force: bool

    def check(self) -> None:
        """Raises UserError for numbers that cannot be, and for more streams than a public server should bear."""
        if self.num_streams > MAX_STREAMS and not self.force:
            raise UserError(
                f"--num-streams {self.num_streams}: a public server should not be asked for more than {MAX_STREAMS} at "
                "once; add --force if it is your own"
            )
        if self.num_streams < 1:
            raise UserError(f"--num-streams {self.num_streams}: at least 1 is needed")
        if self.num_files is not None and self.num_files < 1:
            raise UserError(f"--num-files {self.num_files}: at least 1 is needed; leave it away to fetch all")


def download(
    url: str,
    wanted: Wanted,
    names: Callable[[Downloader], list[str]],
    *,
    first_pause: float = 1.0,
    md5_etags: bool = False,
) -> int:
    """A benchmark's command: find the `names` below `url`, fetch them, say what was done. Exit code 0, or UserError."""
    wanted.check()
    target = Path(wanted.target_dir).expanduser()
    check_address(url)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = Console(quiet=not sys.stdout.isatty())  # a disabled Progress still prints an empty line
    with Progress(*columns, transient=True, console=quiet) as progress:
        downloader = Downloader(url, target, first_pause, progress, md5_etags)
        found = names(downloader)
        make_folder(target)
        fetched = fetch_all(downloader, found, wanted.num_streams, progress)
    seconds = time.monotonic() - started
    print(
        f"{target}: {fetched} of {len(found)} files fetched, {len(found) - fetched} were there; "
        f"{downloader.bytes / 1e9:.3f} GB in {seconds:.1f} s, {downloader.retries} retries"
    )
    return 0
