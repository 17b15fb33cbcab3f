"""What both benchmarks share, and nothing that knows either: config, ranks, data flow, training loop, logs, report."""

from common import startup

startup.prepare()
