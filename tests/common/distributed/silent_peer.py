"""Run by test_two_ranks.py on 2 ranks: one of them falls silent, without closing its connections, in an exchange."""

import os
import signal
import threading

import tensorflow as tf

from common import distributed
from common.cli.program import run_program

_NUMBERS = 2**26  # 256 MiB: so large that the ranks are in the exchange itself whenever one is stopped


def main() -> int:
    distributed.init()
    exchange = tf.function(lambda tensor: distributed.average_over_ranks([tensor])[0])
    mean = exchange(tf.fill(_NUMBERS, float(distributed.rank())))
    if distributed.rank() == 1:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGSTOP)).start()
    while True:
        mean = exchange(mean)


if __name__ == "__main__":
    run_program(main)
