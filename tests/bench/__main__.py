"""Run measurements, print the tables, write bench/bench.json. usage: python -m tests.bench [BENCHMARK[/NAME] ...]

such as `python -m tests.bench deepcam/reading`; without a name all of cloudmask and deepcam. `rivals` measures other
programs for the same work (bench/rivals.json).
Each measurement is a process of its own (`python -m tests.bench.cloudmask NAME`), so that none inherits another's
memory, threads or precision. It prints one JSON object a row.
"""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

from common.report import tables
from tests.bench import cloudmask, deepcam, rivals
from tests.helpers import ROOT, environment

BENCHMARKS = {
    "cloudmask": ("CloudMask", cloudmask.MEASUREMENTS),
    "deepcam": ("DeepCAM", deepcam.MEASUREMENTS),
    "rivals": ("Rivals: their seconds as the limit, which a ratio above 1 passes", rivals.MEASUREMENTS),
}
BY_DEFAULT = ["cloudmask", "deepcam"]


def main() -> int:
    known = [f"{benchmark}/{name}" for benchmark, (_, names) in BENCHMARKS.items() for name in names]
    asked = sys.argv[1:] or BY_DEFAULT
    chosen = [name for name in known if name in asked or name.split("/")[0] in asked]
    if not chosen:
        print(f"error: no measurement is called {' or '.join(asked)}; there are: {', '.join(known)}", file=sys.stderr)
        return 1
    rows = []
    for full_name in chosen:
        benchmark, name = full_name.split("/")
        print(f"measuring: {full_name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{benchmark}", name],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print(f"error: measurement '{full_name}' failed (exit code {done.returncode})", file=sys.stderr)
            return 1
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rows += [{"benchmark": benchmark, **values} for values in found]
    for benchmark, (title, _) in BENCHMARKS.items():
        own = [values for values in rows if values["benchmark"] == benchmark]
        if own:
            tables.show(_table(title, own), width=170)
    folder = ROOT / "bench"
    folder.mkdir(exist_ok=True)
    only_rivals = all(row["benchmark"] == "rivals" for row in rows)
    target = folder / ("rivals.json" if only_rivals else "bench.json")
    about = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "host": platform.node(), "processor": _processor()}
    target.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.relative_to(ROOT)}; medians; the machine is noisy, so compare ratios, not seconds")
    return 0


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _table(title: str, rows: list) -> tables.PlainTable:
    figures = ("ours", "spread", "limit", "spread", "ratio", "interval", "target")
    table = tables.table(title, "measurement", *figures)
    for column in ("", "unit", "what the limit is"):
        table.add_column(column, overflow="fold")
    for row in rows:
        if "skipped" in row:
            table.add_row(row["name"], *[""] * 9, f"skipped: {row['skipped']}")
            continue
        table.add_row(
            row["name"],
            f"{row['ours']:.3g}",
            f"{row['spread']:.0%}",
            f"{row['limit']:.3g}",
            f"{row['limit_spread']:.0%}",
            f"{row['ratio']:.2f}",
            "{:.2f} to {:.2f}".format(*row["interval"]),
            f">= {row['target']:.2f}",
            row["verdict"],
            row["unit"],
            row["limit_is"],
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
