"""Products on their way to the disk: in pieces, at most so many at a time, each compared with its checksum.

Single files go into `.X.SEN3.part`, a folder that is no product by its name, and an archive into `.X.zip.part`; they
get their own names when everything has arrived and agrees with the manifest. So a download that was stopped is resumed.
"""

import os
import shutil
import threading
from pathlib import Path
from typing import NamedTuple, Optional

import requests
from rich.progress import Progress

from cloudmask.fetch import manifest, places
from cloudmask.fetch.catalogue import Offer
from cloudmask.sen3.files import Archive, Folder
from common.data.files import make_folder
from common.downloads.client import Client, RefusedError, Size, Source, length
from common.downloads.downloader import md5_of
from common.errors import UserError, storage_problem

_MOST_ARCHIVE = 4 << 30  # bytes; a product has some 0.5 GB
_NO_SUCH = (400, 403, 404, 405, 501)  # answers of a service that does not give single files


class Piece(NamedTuple):
    """One file to receive. final: its name when it is whole; md5: empty if it is not known; source: None of what eodag
    fetches."""

    delivery: "Delivery"
    source: Optional[Source]
    final: Path
    size: Size
    md5: str


class Delivery:
    """One product. `pieces` are to be fetched, after which `finish` gives it its name."""

    def __init__(self, offer: Offer, target: Path):
        self.offer, self._target = offer, target
        self.pieces: list[Piece] = []
        self._left, self._lock = 0, threading.Lock()
        self._stem = offer.name.removesuffix(".SEN3")

    def existing(self) -> Optional[Path]:
        """The product, if the target has it already. Raises UserError if it is damaged."""
        for name in (self.offer.name, f"{self._stem}.zip", f"{self._stem}.SEN3.zip"):
            path = self._target / name
            if path.exists():
                try:
                    _compare(path, self.offer.name)
                except UserError as error:
                    raise UserError(f"{error}; it is left as it is: move it away to fetch it again") from None
                return path
        return None

    def plan(self, client: Client) -> None:
        """Find out what is to be fetched: asks for the manifest where the service gives single files."""
        place = places.single_files(self.offer)
        self.pieces = self._singly(client, place) if place else []
        if not self.pieces:
            size = Size(None, max(_MOST_ARCHIVE, 2 * self.offer.bytes))
            final = self._target / f".{self._stem}.zip.whole"
            self.pieces = [Piece(self, places.archive(self.offer), final, size, "")]
        self._left = len(self.pieces)

    def _singly(self, client: Client, place: places.Place) -> list[Piece]:
        """The files that a mask needs; none if the service has no single ones after all."""
        staging = self._target / f".{self.offer.name}.part"
        source = place.source(manifest.NAME)
        assert source is not None
        try:
            content = client.read(source, manifest.MOST_BYTES)
        except RefusedError as error:
            if place.kind != "nodes" or error.code not in _NO_SUCH:
                raise
            return []
        entries = manifest.needed(manifest.parse(content, source.shown))
        make_folder(staging)
        _write(staging / manifest.NAME, content)
        pieces = []
        for entry in entries:
            source = place.source(entry.file)
            if source is None:
                raise UserError(f"{self.offer.name}: {self.offer.provider} does not list {entry.file}: try --provider")
            final = staging / entry.file
            if final.exists() and md5_of(final) != entry.md5:  # of another version of the product
                final.unlink()
            pieces.append(Piece(self, source, final, Size(entry.bytes, entry.bytes), entry.md5))
        return pieces

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as the service tells."""
        return sum(
            max((each.size.exact or self.offer.bytes) - length(each.final) - length(_part(each)), 0)
            for each in self.pieces
        )

    def piece_done(self) -> None:
        """Count a piece; after the last one, finish."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        whole = self.pieces[0].final
        received = whole if whole.suffix == ".whole" else whole.parent
        final = self._target / (f"{self._stem}.zip" if received is whole else self.offer.name)
        if received is not whole:
            manifest.compare(Folder(received), whole=False)
        os.replace(received, final)

    def __str__(self) -> str:
        return self.offer.name


class Fetcher(Client):
    """Fetches pieces, by several threads."""

    def __init__(self, first_pause: float, progress: Progress, target: Path):
        super().__init__(first_pause, progress)
        self._target = target

    def fetch(self, piece: Piece) -> bool:
        """Fetch one, unless it is there already from a call before. Raises UserError."""
        is_new = not piece.final.exists()
        try:
            if is_new and piece.source is not None:
                self._receive(piece, piece.source)
            elif is_new:
                self._by_eodag(piece)
            if not self._stopped.is_set():
                piece.delivery.piece_done()
        except OSError as error:
            raise UserError(f"{piece.final}: cannot be written ({storage_problem(error, self._target)})") from error
        return is_new

    def _receive(self, piece: Piece, source: Source) -> None:
        """Receive a piece; once more from its beginning if its checksum is wrong."""
        part, problem = _part(piece), None
        for _ in range(2):
            self._once(piece, source, part)
            if self._stopped.is_set():
                return
            problem = _problem(piece, part)
            if problem is None:
                os.replace(part, piece.final)
                return
            part.unlink()
            print(f"{source.shown}: {problem}: deleted", flush=True)
        raise UserError(f"{source.shown}: {problem}, twice: try again later, or another --provider")

    def _once(self, piece: Piece, source: Source, part: Path) -> None:
        task = self.progress.add_task(piece.final.name, total=piece.size.exact, completed=length(part))
        with requests.Session() as session:
            self.persist(
                source.shown,
                lambda: self.receive(session, source, part, piece.size, task),
                lambda: length(part),
            )
        self.progress.remove_task(task)

    def _by_eodag(self, piece: Piece) -> None:
        """Have eodag order and fetch the archive. It begins anew after a break."""
        offer, folder = piece.delivery.offer, piece.final.with_suffix(".eodag")
        from eodag.utils import ProgressCallback

        shutil.rmtree(folder, ignore_errors=True)
        quiet = ProgressCallback(disable=True)
        try:
            found = Path(offer.product.download(progress_callback=quiet, output_dir=str(folder), extract=False))
            archives = [found] if found.is_file() else sorted(found.rglob("*.zip"))
        except Exception as error:
            raise UserError(f"{offer.provider}: {offer.name}: {offer.login.hidden(error)}") from None
        if len(archives) != 1:
            raise UserError(f"{offer.provider}: {offer.name}: came as {len(archives)} archives, one expected")
        _compare(archives[0], offer.name)
        self.bytes += length(archives[0])
        os.replace(archives[0], piece.final)
        shutil.rmtree(folder)


def _part(piece: Piece) -> Path:
    return piece.final.with_suffix(".part") if piece.final.suffix == ".whole" else Path(f"{piece.final}.part")


def _problem(piece: Piece, part: Path) -> Optional[str]:
    """What is wrong with a file that was received, None if nothing is."""
    if piece.md5:
        return None if md5_of(part) == piece.md5 else "its checksum is not the manifest's"
    try:
        _compare(part, piece.delivery.offer.name)
    except UserError as error:
        return str(error).split(f"{part}", 1)[-1].lstrip("/: ")
    return None


def _compare(path: Path, name: str) -> None:
    """Compare a product, a folder or an archive, with its manifest. Raises UserError."""
    if path.is_dir():
        manifest.compare(Folder(path), whole=False)
        return
    archive = Archive(path)
    if Path(archive.product).name != name:
        raise UserError(f"{path}: holds {archive.product}, {name} expected")
    manifest.compare(archive, whole=True)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({storage_problem(error, path.parent)})") from error
