"""Samples that cannot be used, found before training and left out: what `data.on_bad_sample: skip` does.

Every file is read once, shared out over ranks, so that all ranks leave out the same files and a resumed run does too.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

from common import distributed
from common.data.files import DataFile
from common.data.order import share
from common.errors import UserError
from tf_deepcam.data.samples import Reader, sample_format


class Screened(NamedTuple):
    """good: files to use. bad: for each file left out, why."""

    good: list[DataFile]
    bad: dict[str, str]


def screen(files: list[DataFile], read: Reader, threads: int) -> Screened:
    """Raises UserError on all ranks if no file is left. A collective call."""
    form = sample_format(read)

    def problem(file: DataFile) -> Optional[str]:
        try:
            file.check()
            read(file.path, form.empty(1))
        except UserError as error:
            return str(error)
        return None

    first, last = share(len(files), distributed.rank(), distributed.size())
    own = files[first:last]
    with ThreadPoolExecutor(threads) as workers:
        found = {file.path: text for file, text in zip(own, workers.map(problem, own)) if text is not None}
    bad = {path: text for part in distributed.gather_objects(found) for path, text in part.items()}
    good = [file for file in files if file.path not in bad]
    if not good:
        raise UserError(f"all {len(files)} samples are bad; the first: {next(iter(bad.values()))}", on_all_ranks=True)
    return Screened(good, bad)
