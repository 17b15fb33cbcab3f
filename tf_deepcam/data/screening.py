"""Bad samples found before training and left out, as `data.on_bad_sample: skip` asks for.

Every file is read once, by one of the ranks, so that all ranks leave out the same files, and a resumed run does too.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

from common import distributed
from common.data.files import DataFile
from common.data.order import share
from common.errors import UserError
from tf_deepcam.data.samples import Reader, sample_format


class Screened(NamedTuple):
    """The result of reading every file."""

    good: list[DataFile]
    bad: dict[str, str]  # {path: why} of the files to leave out


def screen(files: list[DataFile], read: Reader, threads: int) -> Screened:
    """Read every file once and separate good from bad. A collective call.

    Raises:
        UserError: on all ranks if no file is good.
    """
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
        own_bad = {file.path: text for file, text in zip(own, workers.map(problem, own)) if text is not None}
    bad = {path: text for part in distributed.gather_objects(own_bad) for path, text in part.items()}
    good = [file for file in files if file.path not in bad]
    if not good:
        raise UserError(f"all {len(files)} samples are bad; the first: {next(iter(bad.values()))}", on_all_ranks=True)
    return Screened(good, bad)
