"""Standard output that nobody reads, that is closed, or that is full: real shells, real programs."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT, TINY, environment, write_scenes

GOES_ON = """
import sys
from common.cli import output
from common.cli.program import run_program
def main():
    output.do_without()
    for number in range(20000):
        print("line", number)
    print("to the end", file=sys.stderr)
    return int(sys.argv[1])
run_program(main)
"""
LOST = "standard output cannot be written ({}): continuing without it"


def shell(words: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of bash, in which $python is this Python; its exit code is that of the first program of a pipe."""
    line = f"python={sys.executable}; {words}; exit ${{PIPESTATUS[0]}}"
    command = ["bash", "-c", line, "-", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_program_that_only_prints_ends_with_one_line_on_a_full_disk(unbuffered):
    done = shell("$python -m common.config docs >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("where", "why"), [("| true", "Broken pipe"), (">/dev/full", "No space left on device"), (">&-", "")]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_program_that_computes_goes_on(where, why, unbuffered):
    done = shell(f'$python -c "$1" 0 {where}', GOES_ON, PYTHONUNBUFFERED=unbuffered)
    assert done.stderr.splitlines() == [*([LOST.format(why)] if why else []), "to the end"]
    assert done.returncode == 0


def test_a_real_command_goes_on(tmp_path):
    words = '-m cloudmask synthesize --folder "$1" --scenes 2 --height 72 --width 104'
    done = shell(f"$python {words} >/dev/full", str(tmp_path))
    assert (done.stderr, done.returncode) == (LOST.format("No space left on device") + "\n", 0)
    assert len(list(tmp_path.rglob("*.hdf"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["| head -1", ">/dev/full", ">&-"])
def test_a_training_goes_on(tmp_path, where):
    write_scenes(tmp_path / "scenes", 5)
    settings = " ".join([*TINY, "training.epochs=1", "output.run_name=x", "report.saved_model=false"])
    words = f'-m cloudmask train {settings} data.train_dir="$1"/scenes output.folder="$1"'
    done = shell(f"$python {words} {where}", str(tmp_path))
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line] == (
        [] if where == ">&-" else [LOST.format("Broken pipe" if "head" in where else "No space left on device")]
    )
    assert (tmp_path / "x" / "model.keras").is_file()
    assert (tmp_path / "x" / "report.md").is_file()


def test_its_exit_code_stays_its_own():
    assert shell('$python -c "$1" 3 | true', GOES_ON).returncode == 3


def test_without_standard_error_too_the_exit_code_tells():
    assert shell("$python -m common.config show nothing >&- 2>&-").returncode == 1
    assert shell("$python -m common.config show nothing 2>/dev/full").returncode == 1


def test_a_closed_descriptor_is_not_given_to_a_file_of_the_program(tmp_path):
    """Libraries print to descriptor 1, whatever it is."""
    program = "import common, os, sys; file = open(sys.argv[1], 'w'); os.write(1, b'noise'); file.write('content')"
    done = shell('$python -c "$1" "$2" <&- >&-', program, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file").read_text() == "content"
