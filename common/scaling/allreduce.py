"""Measurement of Horovod's allreduce by message size, and of the latency and bandwidth that fit the times."""

import json
import os
import time
from pathlib import Path
from typing import Optional

import numpy as np
import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.report.tables import show, table
from common.runs.files import write_text
from common.scaling.model import fit

_BYTES = tuple(4**n * 1024 for n in range(10))  # 1 KB to 256 MB


def bench(output: Optional[str]) -> int:
    """Measure allreduce by size, plain and compressed to float16, and print times and fitted links. Collective.

    Args:
        output: JSON file to write for `predict`, if any.

    Returns:
        The exit code.

    Raises:
        UserError: on fewer than two ranks, or if the file cannot be written.
    """
    os.environ["HOROVOD_CYCLE_TIME"] = "1"  # ms, so that the link is measured rather than Horovod's pauses
    distributed.init()
    if distributed.size() < 2:
        raise UserError("bench-allreduce needs at least 2 ranks: horovodrun -np 2 python -m common.scaling ...")
    times = table("Allreduce", "bytes", "float32, s", "GB/s", "as float16, s", "GB/s")
    rows = []
    for size in _BYTES:
        values = tf.random.normal((size // 4,))
        medians = []
        for compress in (False, True):
            exchange = tf.function(lambda values, c=compress: distributed.average_over_ranks([values], compress=c)[0])
            seconds = []
            for _ in range(7):
                distributed.barrier()
                started = time.perf_counter()
                exchange(values)[0].numpy()
                seconds.append(time.perf_counter() - started)
            medians.append(max(distributed.gather_objects(float(np.median(seconds[2:])))))
        rows.append((size, *medians))
        times.add_row(str(size), *(text for s in medians for text in (f"{s:.5f}", f"{size / s / 1e9:.3f}")))
    links = [fit([row[0] for row in rows], [row[column] for row in rows], distributed.size()) for column in (1, 2)]
    if distributed.is_root():
        show(times)
        for name, link in zip(("float32", "as float16"), links):
            print(f"{name}: latency {1e6 * link.latency:.0f} us, bandwidth {link.bandwidth / 1e9:.3f} GB/s per rank")
        if output:
            content = {"ranks": distributed.size(), "nodes": distributed.nodes(), "rows": rows}
            content |= {"float32": vars(links[0]), "float16": vars(links[1])}
            write_text(Path(output), json.dumps(content, indent=1) + "\n")
    distributed.barrier()
    return 0
