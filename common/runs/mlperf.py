"""The MLPerf log of a run, written by rank 0. The only file that imports mlperf_logging.

Lines are `:::MLLOG {json}` with a time in milliseconds; keys are mlperf_logging's own constants where it has them.
"""

import logging
from pathlib import Path
from typing import Any, Optional

from mlperf_logging.mllog import constants
from mlperf_logging.mllog.mllog import MLLogger

from common import distributed, resources
from common.runs import files
from common.runs.settings import SubmissionSettings


class _LogFile(logging.Handler):
    """Writes each line whole, and raises the errors of writing; Python's own handler would print them."""

    def __init__(self, path: Path):
        super().__init__()
        self._lines = files.Lines(path)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record).encode())

    def close(self) -> None:
        self._lines.close()
        super().close()


class Log:
    """Writes events to `path`; without a path, or on a rank other than 0, it does nothing.

    All methods raise UserError if the file cannot be written.
    """

    def __init__(self, path: Optional[Path]):
        self._logger = None
        if path is None or not distributed.is_root():
            return
        sink = logging.getLogger(f"mlperf:{path}")
        sink.propagate = False
        sink.setLevel(logging.INFO)
        if not sink.handlers:
            sink.addHandler(_LogFile(path))
        self._logger = MLLogger(sink, default_stack_offset=2, root_dir=str(resources.PACKAGE.parent))

    def start(self, key: str, **metadata: Any) -> None:
        """Log the start of the interval `key`, a name without _start."""
        if self._logger:
            self._logger.start(f"{key}_start", metadata=metadata)

    def end(self, key: str, **metadata: Any) -> None:
        """Log the end of the interval `key`, a name without _stop."""
        if self._logger:
            self._logger.end(f"{key}_stop", metadata=metadata)

    def event(self, key: str, value: Any, **metadata: Any) -> None:
        """Log an event."""
        if self._logger:
            self._logger.event(key, value, metadata=metadata)

    def events(self, values: dict) -> None:
        """Log an event for each entry."""
        for key, value in values.items():
            self.event(key, value)

    def submission(self, benchmark: str, settings: SubmissionSettings, accelerators_found: int) -> None:
        """Log the submission_* events and the numbers of ranks, nodes and accelerators.

        Args:
            benchmark: its name in MLPerf logs.
            settings: data about the submission.
            accelerators_found: per node, for settings that give no number.
        """
        self.event(constants.SUBMISSION_BENCHMARK, benchmark)
        self.event("ruleset", settings.ruleset)
        if settings.instance is not None:
            self.event("instance_id", settings.instance)
        self.event(constants.SUBMISSION_ORG, settings.organisation)
        self.event(constants.SUBMISSION_DIVISION, settings.division)
        self.event(constants.SUBMISSION_STATUS, settings.status)
        self.event(constants.SUBMISSION_PLATFORM, settings.platform)
        self.event("number_of_ranks", distributed.size())
        self.event("number_of_nodes", distributed.nodes())
        self.event("accelerators_per_node", settings.accelerators_per_node or accelerators_found)
