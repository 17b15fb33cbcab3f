"""The wheel, installed without Horovod and used from other folders, where no checkout is seen.

Its environment sees the packages of the one that runs the tests, all but Horovod, so that nothing is downloaded.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.common.report.test_report import write_log
from tests.helpers import GOLDEN, ROOT, TINY, errors, run, write_scenes

SOURCES = ["cloudmask", "common", "tf_deepcam", "config", "jobs"]
FILES = ["pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"]
COMMANDS = [
    "cloudmask",
    "deepcam",
    *(f"segmentation-{name}" for name in ("config", "export", "launch", "report", "run", "scaling")),
]


def pip(*words) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    for package in ("pip", "setuptools"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed here, and nothing is downloaded to build a wheel")
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment's bin folder."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    pip("--python", folder / "venv" / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    (folder / "packages").mkdir()
    for place in map(Path, sys.path):
        if place.name in ("site-packages", "dist-packages"):
            for entry in place.iterdir():
                link = folder / "packages" / entry.name
                if (
                    not entry.name.startswith(("horovod", "tf_science_segmentation", "__editable__"))
                    and not link.exists()
                ):
                    link.symlink_to(entry)
    (site_packages,) = (folder / "venv" / "lib").glob("*/site-packages")
    (site_packages / "other_packages.pth").write_text(f"{folder / 'packages'}\n")
    return folder / "venv" / "bin"


def call(program: Path, *words, cwd: Path, **more: str) -> subprocess.CompletedProcess:
    """Standard error is in the output."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [program, *map(str, words)],
        cwd=cwd,
        env={**kept, "PATH": f"{program.parent}:{os.environ['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "3", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )


def files(folder: Path, *names: str) -> set[str]:
    return {str(path.relative_to(folder)) for name in names for path in (folder / name).rglob("*") if path.is_file()}


def test_it_holds_the_packages_recipes_and_job_scripts_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = files(ROOT, "cloudmask", "common", "tf_deepcam")
    expected |= {f"common/_share/{name}" for name in {*files(ROOT, "config", "jobs"), "requirements.txt"}}
    assert held == {name for name in expected if "__pycache__" not in name}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_takes(command, installed, tmp_path):
    done = call(installed / command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "python -m" in done.stdout


def test_recipes_are_listed_and_copied_but_not_over_a_file(installed, tmp_path):
    listed = call(installed / "segmentation-config", "list", cwd=tmp_path).stdout
    assert "\ndeepcam/nersc10           NERSC-10 benchmark: time for 16 epochs at global batch 2048.\n" in listed
    assert len(listed.splitlines()) == len(list((ROOT / "config").glob("*/*.yaml")))
    done = call(installed / "segmentation-config", "copy", "deepcam/demo", cwd=tmp_path)
    assert done.stdout == "written: deepcam-demo.yaml\n"
    copy = tmp_path / "deepcam-demo.yaml"
    assert copy.read_bytes() == (ROOT / "config" / "deepcam" / "demo.yaml").read_bytes()
    copy.write_text("mine")
    again = call(installed / "segmentation-config", "copy", "deepcam/demo", cwd=tmp_path)
    assert again.returncode == 1
    assert again.stdout.startswith("error: deepcam-demo.yaml: exists already")
    assert copy.read_text() == "mine"
    unknown = call(installed / "segmentation-config", "copy", "deepcam/dmo", cwd=tmp_path)
    assert unknown.stdout == "error: there is no recipe 'deepcam/dmo': did you mean 'deepcam/demo'?\n"


def test_a_log_is_reported_as_a_page_and_beside_published_results(installed, tmp_path):
    log = write_log(tmp_path / "run.log")
    done = call(
        installed / "segmentation-report",
        log,
        "--html",
        "page.html",
        "--with",
        "published",
        cwd=tmp_path,
        COLUMNS="150",
    )
    assert done.returncode == 0, done.stdout
    assert "\nwritten: page.html\n" in done.stdout
    assert (ROOT / "common" / "report" / "assets" / "page.css").read_text() in (tmp_path / "page.html").read_text()


def test_launch_prints_a_command_that_works_where_it_is_printed(installed, tmp_path):
    call(installed / "segmentation-config", "copy", "deepcam/nersc10", cwd=tmp_path)
    words = (
        "--site",
        "perlmutter",
        "--nodes",
        2,
        "--dry-run",
        "deepcam-nersc10.yaml",
        f"data.data_dir_prefix={tmp_path}",
    )
    printed = call(installed / "segmentation-launch", *words, cwd=tmp_path)
    assert printed.returncode == 0, printed.stdout
    # sbatch as Slurm has it: it starts a copy of the script, in whatever folder.
    programs = {
        "sbatch": 'shift; mkdir spool; cp "$1" spool/job; shift; '
        'SLURM_SUBMIT_DIR=$PWD SLURM_JOB_ID=7 SLURM_NTASKS=1 bash spool/job "$@"',
        "srun": 'echo "srun $*"',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{installed}:{os.environ['PATH']}"
    given = {"PATH": path, "SITE_MODULES": "", "GPUS": "0", "FREE_KB": "1000", "INTERFACE": "", "LAUNCHER": "srun"}
    done = call(Path(shutil.which("bash") or "bash"), "-c", printed.stdout, cwd=tmp_path, **given)
    assert done.returncode == 0, printed.stdout + done.stdout
    assert "python -m tf_deepcam train --config deepcam-nersc10.yaml data.data_dir_prefix=" in done.stdout


def test_it_masks_scenes_on_one_rank_and_says_that_horovod_is_missing(installed, tmp_path):
    write_scenes(tmp_path / "scenes", 1)
    words = (
        "infer", *TINY, f"inference.inference_dir={tmp_path}/scenes", "inference.pictures=0", "output.run_name=masks",
        f"inference.model_file={GOLDEN / 'cloudmask_flat_layout.keras'}",
    )  # fmt: skip
    done = call(installed / "cloudmask", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "\nnote: Horovod is not installed: one rank\n" in done.stdout
    assert "| commit, started | version 0." in (tmp_path / "runs" / "masks" / "report.md").read_text()
    launched = call(installed / "segmentation-run", "-np", 2, "--", "cloudmask", *words, cwd=tmp_path)
    assert launched.returncode == 1
    assert "horovodrun: no such program" in errors(launched.stdout)[0]


def test_its_code_is_the_checkout_s(installed, tmp_path):
    """By which ranks find out whether they run the same."""
    program = """
import hashlib
from common import resources
for path in resources.sources(resources.PACKAGE):
    print(path.relative_to(resources.PACKAGE), hashlib.sha256(path.read_bytes()).hexdigest())
"""
    lines = call(installed / "python", "-c", program, cwd=tmp_path).stdout
    assert "resources.py" in lines
    assert lines == run("-c", program).stdout


def requirements(path: Path) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def test_its_dependencies_are_those_that_are_installed_for_tests(wheel):
    """Every pinned version fits the wheel's range, and each side has what the other has."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        lines = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    every = [Requirement(line) for line in lines]
    plain = {canonicalize_name(each.name): each for each in every if "extra" not in str(each.marker)}
    extras = {
        extra: {canonicalize_name(each.name) for each in every if f'extra == "{extra}"' in str(each.marker)}
        for extra in ("dev", "geo", "horovod", "tracking")
    }
    pins = requirements(ROOT / "requirements.txt")
    for pin in [*pins, *requirements(ROOT / "jobs" / "tensorflow-2.15.txt")]:
        name, (version,) = canonicalize_name(pin.name), pin.specifier
        assert name not in plain or plain[name].specifier.contains(version.version), (
            f"{pin} is outside of {plain[name]}"
        )
    indirect = {"pandas", "protobuf", "tensorflow-addons"}  # as requirements.txt says
    assert {canonicalize_name(pin.name) for pin in pins} == set(plain) | extras["horovod"] | indirect
    developers = requirements(ROOT / "requirements-dev.txt")
    assert {canonicalize_name(pin.name) for pin in developers} == extras["dev"] >= extras["tracking"] | extras["geo"]
