"""The MLPerf log of a run, written by rank 0. The only file that imports mlperf_logging.

Lines are `:::MLLOG {json}` with a time in milliseconds; the keys are mlperf_logging's own constants where it has one.
"""

import logging
from pathlib import Path
from typing import Any, Optional

from mlperf_logging.mllog import constants
from mlperf_logging.mllog.mllog import MLLogger

from common import distributed
from common.runs.settings import SubmissionSettings


class _LogFile(logging.FileHandler):
    """Raises what writing raises, where Python's own prints it and goes on without the line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is Python's
        raise


class Log:
    """Writes events to `path`; without a path, or on a rank other than 0, it does nothing."""

    def __init__(self, path: Optional[Path]):
        self._logger = None
        if path is None or not distributed.is_root():
            return
        sink = logging.getLogger(f"mlperf:{path}")
        sink.propagate = False
        sink.setLevel(logging.INFO)
        if not sink.handlers:
            sink.addHandler(_LogFile(path, mode="a", encoding="utf-8"))
        root = str(Path(__file__).resolve().parents[2])
        self._logger = MLLogger(sink, default_stack_offset=2, root_dir=root)

    def start(self, key: str, **metadata: Any) -> None:
        """Begin an interval: `key` without its _start."""
        if self._logger:
            self._logger.start(f"{key}_start", metadata=metadata)

    def end(self, key: str, **metadata: Any) -> None:
        """End an interval: `key` without its _stop."""
        if self._logger:
            self._logger.end(f"{key}_stop", metadata=metadata)

    def event(self, key: str, value: Any, **metadata: Any) -> None:
        if self._logger:
            self._logger.event(key, value, metadata=metadata)

    def events(self, values: dict) -> None:
        """An event for each entry."""
        for key, value in values.items():
            self.event(key, value)

    def submission(self, benchmark: str, settings: SubmissionSettings, accelerators_found: int) -> None:
        """The submission_* block and the machine's shape."""
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
