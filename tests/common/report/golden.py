"""Writes tests/golden/report.md anew: python -m tests.common.report.golden; look at it before it is committed."""

import tempfile
from pathlib import Path

from common.report import __main__ as report
from common.report import tables
from common.report.options import Options
from tests.common.report.test_report import example_runs
from tests.helpers import GOLDEN

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = report.tables(example_runs(Path(folder)), Options(None, 2))
    (GOLDEN / "report.md").write_text("\n\n".join(map(tables.markdown, made)) + "\n", encoding="utf-8")
