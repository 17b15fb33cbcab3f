"""The two definitions of containers: the same steps, read by their tools' rules, and run with stand-ins."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.jobs.test_install import script

FOLDER = ROOT / "jobs" / "container"
# What an instruction of Dockerfile may be, and a section of Apptainer's definition file, by their manuals.
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "SHELL", "WORKDIR"}
SECTIONS = {"arguments", "files", "post", "environment", "test"}
PACKAGES = {"ca-certificates", "g++", "git", "libopenmpi-dev", "make", "openmpi-bin", "openssh-client"}
PACKAGES |= {"python3", "python3-dev", "python3-venv"}


def dockerfile() -> list:
    """The instructions of the Dockerfile in order, as (word, rest)."""
    text = re.sub(r"\\\n", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def definition() -> tuple:
    """(header, {section: its lines}) of Apptainer's definition file."""
    header, *parts = re.split(r"^%", (FOLDER / "apptainer.def").read_text(), flags=re.MULTILINE)
    head = dict(line.split(": ", 1) for line in header.splitlines() if line and not line.startswith("#"))
    return head, {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts}


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", str(FOLDER / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_both_have_only_what_their_manuals_know_and_default_to_a_plain_image_with_a_tag():
    assert {word for word, _ in dockerfile()} == INSTRUCTIONS
    arguments = dict(rest.split("=", 1) for word, rest in dockerfile() if word == "ARG")
    head, sections = definition()
    assert set(sections) == SECTIONS
    assert head == {"Bootstrap": "docker", "From": "{{ BASE }}"}
    defaults = dict(line.strip().split("=", 1) for line in sections["arguments"].splitlines() if line.strip())
    assert set(defaults) == set(arguments) == set(re.findall(r"{{ (\w+) }}", (FOLDER / "apptainer.def").read_text()))
    assert defaults["BASE"] == arguments["BASE"]
    assert re.fullmatch(r"debian:\d+-slim", defaults["BASE"])


def test_what_they_copy_is_there_and_the_same():
    copied = {name for word, rest in dockerfile() if word == "COPY" for name in rest.split()[:-1]}
    # Apptainer reads one source and one target a line, and nothing beyond; a target that ends with / is a folder.
    pairs = [line.split() for line in definition()[1]["files"].strip().splitlines()]
    assert {tuple(rest) for _, *rest in pairs} == {("/opt/benchmarks/",)}
    assert {source for source, *_ in pairs} == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def commands(folder: Path, shell_text: str, **variables: str) -> list:
    """Run text in a shell that has stand-ins alone; the calls of apt-get and of jobs/install.sh that it made."""
    for name in ("apt-get", "bash", "rm"):
        script(folder / "bin" / name, f'echo "{name} $* system=${{SYSTEM_TENSORFLOW:-}}" >>{folder}/calls')
    (folder / "calls").write_text("")
    text = shell_text.replace("/opt/benchmarks", str(folder))
    done = subprocess.run(
        [shutil.which("bash"), "-e", "-c", text],
        cwd=folder,
        env={"PATH": str(folder / "bin"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "calls").read_text().splitlines()


def from_dockerfile(folder: Path, gpu: str, system: str) -> list:
    runs = [rest for word, rest in dockerfile() if word == "RUN" and "horovodrun" not in rest]
    return commands(folder, "\n".join(runs), GPU=gpu, SYSTEM_TENSORFLOW=system)


def from_definition(folder: Path, gpu: str, system: str) -> list:
    text = definition()[1]["post"].replace("{{ GPU }}", gpu or "0").replace("{{ SYSTEM_TENSORFLOW }}", system or "0")
    return commands(folder, text)


@pytest.mark.parametrize("steps", [from_dockerfile, from_definition])
def test_the_arguments_choose_between_cpus_gpus_and_the_image_s_tensorflow(tmp_path, steps):
    """A plain image gets Debian's packages; one with TensorFlow is left as it is."""
    for gpu in ("", "1"):
        update, packages, _, install = steps(tmp_path, gpu, "")
        assert update.startswith("apt-get update ")
        names = [word for word in shlex.split(packages)[2:] if not word.startswith("-") and "=" not in word]
        assert set(names) == PACKAGES
        assert install == f"bash jobs/install.sh /opt/venv {gpu} system="
    assert steps(tmp_path, "", "1") == ["bash jobs/install.sh /opt/venv  system=1"]
