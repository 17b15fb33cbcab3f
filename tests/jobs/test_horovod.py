"""jobs/horovod.sh, with a stand-in for pip, and the edits that it makes in Horovod's sources."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from jobs import horovod_edits
from tests.helpers import ROOT
from tests.jobs.test_install import script

CMAKE = "horovod/tensorflow/CMakeLists.txt"
OPS = "horovod/tensorflow/mpi_ops.cc"
SPAN = "third_party/flatbuffers/include/flatbuffers/stl_emulation.h"
TOP = "CMakeLists.txt"


def sources(folder: Path) -> Path:
    """What the edits look at, in Horovod 0.28.1's words."""
    files = {
        CMAKE: """list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/mpi_ops.cc")
list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")
""",
        OPS: """#else
#include "tensorflow/stream_executor/stream.h"
#endif // TENSORFLOW_VERSION >= 2011000000
#endif // HAVE_GPU
""",
        SPAN: """template<class T> struct span {
#define FLATBUFFERS_CONSTEXPR_CPP14
#define FLATBUFFERS_NOEXCEPT
  FLATBUFFERS_CONSTEXPR_CPP14 span &operator=(const span &other)
      FLATBUFFERS_NOEXCEPT {
    data_ = other.data_;
    count_ = other.count_;
  }
  T *data_;
  const unsigned count_;
};
""",
        TOP: """    add_subdirectory(third_party/gloo)
    add_subdirectory(third_party/compatible17_gloo)
""",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def headers(folder: Path, text: str) -> Path:
    path = folder / "xla" / "stream_executor" / "gpu" / "gpu_stream.h"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("version", "header", "without_xla", "with_definition"),
    [
        ("2.15.1", "", False, False),
        ("2.20.0", "GpuStreamHandle AsGpuStreamValue(Stream* stream);", True, False),
        ("2.21.0", "", True, True),
    ],
)
def test_sources_are_edited_as_this_tensorflow_needs(tmp_path, version, header, without_xla, with_definition):
    folder = sources(tmp_path / "horovod-0.28.1")
    done = horovod_edits.edit(folder, version, headers(tmp_path / "include", header))
    assert len(done) == 2 + without_xla + with_definition
    assert "count_ = other.count_" not in (folder / SPAN).read_text()
    assert (folder / TOP).read_text().splitlines()[0].strip() == "add_subdirectory(third_party/gloo EXCLUDE_FROM_ALL)"
    assert ("xla_mpi_ops.cc" not in (folder / CMAKE).read_text()) is without_xla
    assert "tensorflow/mpi_ops.cc" in (folder / CMAKE).read_text()
    assert ("inline GpuStreamHandle AsGpuStreamValue" in (folder / OPS).read_text()) is with_definition


@pytest.mark.parametrize("text", ["", "twice"])
def test_an_edit_that_does_not_find_its_line_fails_and_changes_nothing(tmp_path, text):
    folder = sources(tmp_path / "horovod-0.28.1")
    ops = (folder / OPS).read_text()
    (folder / OPS).write_text(text and ops + ops)
    before = {name: (folder / name).read_text() for name in (CMAKE, OPS, SPAN, TOP)}
    with pytest.raises(SystemExit, match=rf"mpi_ops.cc holds the text that must be replaced {2 if text else 0} times"):
        horovod_edits.edit(folder, "2.21.0", tmp_path)
    assert {name: (folder / name).read_text() for name in before} == before


@pytest.fixture
def environment(tmp_path) -> dict:
    """An environment whose Python has a TensorFlow of TF_STUB's version, and whose pip makes a wheel of nothing."""
    library = tmp_path / "library" / "tensorflow"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("""import os
__version__ = os.environ['TF_STUB']
class sysconfig: get_include = staticmethod(lambda: '/include')
class version: GIT_VERSION = COMPILER_VERSION = 'known'""")
    sources(tmp_path / "horovod-0.28.1")
    with tarfile.open(tmp_path / "horovod-0.28.1.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "horovod-0.28.1", "horovod-0.28.1")
    script(tmp_path / "bin" / "python", f'PYTHONPATH={tmp_path}/library exec {sys.executable} -S "$@"')
    script(
        tmp_path / "bin" / "pip",
        f"""echo "$*" >>{tmp_path}/calls
        case $1 in
            download) cp {tmp_path}/horovod-0.28.1.tar.gz "${{@: -2:1}}" ;;
            wheel) cp "${{@: -1}}/{CMAKE}" "${{@: -2:1}}/horovod-0.28.1-py3-none-any.whl" ;;
            install) [ ! -f "$4" ] || cp "$4" {tmp_path}/installed ;;
        esac""",
    )
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TF_STUB": "2.20.0", "HOME": str(tmp_path)}


def compiled(environment: dict, folder: Path, **more: str) -> bool:
    """Run jobs/horovod.sh; whether it compiled, which must be what it installs."""
    (folder / "calls").unlink(missing_ok=True)
    call = ["bash", str(ROOT / "jobs" / "horovod.sh")]
    done = subprocess.run(call, env={**environment, **more}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mpi_ops.cc" in (folder / "installed").read_text()
    (folder / "installed").unlink()
    return "wheel " in (folder / "calls").read_text()


def test_the_wheel_is_kept_for_environments_of_its_kind_alone(environment, tmp_path):
    assert compiled(environment, tmp_path)
    assert not compiled(environment, tmp_path)
    for other in ({"TF_STUB": "2.15.1"}, {"CXXFLAGS": "-O1"}, {"HOROVOD_WITH_MPI": "1"}):
        assert compiled(environment, tmp_path, **other)
        assert not compiled(environment, tmp_path, **other)
    kept = list((tmp_path / "cache").rglob("*.whl"))
    assert sorted("xla_mpi_ops" in wheel.read_text() for wheel in kept) == [False, False, False, True]


def test_without_a_cache_it_is_compiled_each_time(environment, tmp_path):
    assert compiled(environment, tmp_path, HOROVOD_CACHE="")
    assert compiled(environment, tmp_path, HOROVOD_CACHE="")
    assert not (tmp_path / "cache").exists()


def test_a_wheel_that_others_could_have_put_there_is_not_taken(environment, tmp_path):
    assert compiled(environment, tmp_path)
    wheel = next((tmp_path / "cache").rglob("*.whl"))
    wheel.parent.chmod(0o777)
    assert compiled(environment, tmp_path)
    wheel.parent.chmod(0o700)
    assert not compiled(environment, tmp_path)
    wheel.rename(tmp_path / "elsewhere.whl")
    wheel.symlink_to(tmp_path / "elsewhere.whl")
    assert compiled(environment, tmp_path)


def test_a_cache_that_cannot_be_made_is_no_obstacle(environment, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert compiled(environment, tmp_path)


def test_an_environment_without_tensorflow_is_one_line(environment, tmp_path):
    (tmp_path / "library" / "tensorflow" / "__init__.py").unlink()
    (tmp_path / "library" / "tensorflow").rmdir()
    call = ["bash", str(ROOT / "jobs" / "horovod.sh")]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "has no TensorFlow that can be imported: install it first" in done.stderr.splitlines()[-1]
