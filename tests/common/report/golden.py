"""Writes tests/golden/report.md anew: python -m tests.common.report.golden; look at it before it is committed."""

import tempfile
from pathlib import Path

from common.report import __main__ as report
from common.report import forms, tables
from tests.common.report.test_report import example_runs
from tests.helpers import GOLDEN

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        runs, inferences = example_runs(Path(folder))
        made = report.tables(runs, forms.Asked(None, 2, inferences))
    (GOLDEN / "report.md").write_text("\n\n".join(map(tables.markdown, made)) + "\n", encoding="utf-8")
