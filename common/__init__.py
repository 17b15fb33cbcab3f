"""What both benchmarks share, and nothing that knows either: config, ranks, data flow, training loop, logs, report."""

from common import resources, startup

__version__ = resources.version()
startup.prepare()
