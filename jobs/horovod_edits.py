"""Horovod's sources made to compile today: python jobs/horovod_edits.py SOURCES VERSION INCLUDES

SOURCES is the unpacked sdist, VERSION and INCLUDES are TensorFlow's version and the folder of its headers. Horovod
0.28.1 of June 2023 knows TensorFlow up to 2.15 and gcc up to 13; jobs/horovod.sh calls this before it compiles. Each
edit names one text that must stand in its file exactly once, so that another Horovod is not edited blindly: else one
line says so.
"""

import sys
from pathlib import Path
from typing import Callable, NamedTuple


class Edit(NamedTuple):
    """One text of one file, what takes its place, and for which TensorFlow (version, folder of headers)."""

    file: str
    old: str
    new: str
    why: str
    applies: Callable[[tuple, Path], bool]


def always(version: tuple, includes: Path) -> bool:
    return True


def is_newer_than_horovod(version: tuple, _: Path) -> bool:
    return version >= (2, 16)


def lacks_stream_value(version: tuple, includes: Path) -> bool:
    """Whether no header of TensorFlow declares AsGpuStreamValue; 2.21 is the first of these."""
    headers = includes.glob("**/stream_executor/**/*.h")
    return version >= (2, 16) and not any(b"AsGpuStreamValue" in header.read_bytes() for header in headers)


EDITS = (
    Edit(
        "third_party/flatbuffers/include/flatbuffers/stl_emulation.h",
        """  FLATBUFFERS_CONSTEXPR_CPP14 span &operator=(const span &other)
      FLATBUFFERS_NOEXCEPT {
    data_ = other.data_;
    count_ = other.count_;
  }
""",
        "  span &operator=(const span &other) = delete;\n",
        "took out an assignment to a constant, which gcc 14 and newer refuse and nothing calls",
        always,
    ),
    Edit(
        "CMakeLists.txt",
        "    add_subdirectory(third_party/gloo)\n",
        "    add_subdirectory(third_party/gloo EXCLUDE_FROM_ALL)\n",
        "left out Gloo for C++14, a third of the files, which these TensorFlows do not link",
        always,
    ),
    Edit(
        "horovod/tensorflow/CMakeLists.txt",
        'list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")\n',
        "",
        "left out xla_mpi_ops.cc, which includes headers that TensorFlow's package lacks (no HOROVOD_ENABLE_XLA_OPS)",
        is_newer_than_horovod,
    ),
    Edit(
        "horovod/tensorflow/mpi_ops.cc",
        '#include "tensorflow/stream_executor/stream.h"\n#endif // TENSORFLOW_VERSION >= 2011000000\n',
        """#include "tensorflow/stream_executor/stream.h"
#endif // TENSORFLOW_VERSION >= 2011000000
namespace stream_executor {
namespace gpu {
inline GpuStreamHandle AsGpuStreamValue(Stream* stream) {
  return static_cast<GpuStreamHandle>(stream->platform_specific_handle().stream);
}
} // namespace gpu
} // namespace stream_executor
""",
        "defined AsGpuStreamValue, which TensorFlow no longer has",
        lacks_stream_value,
    ),
)


def edit(sources: Path, version: str, includes: Path) -> list:
    """Apply the edits that this TensorFlow needs.

    Returns:
        What each did, a line each; none on a TensorFlow that Horovod knows.
    Raises:
        SystemExit: a file does not hold the text that an edit replaces exactly once; nothing is changed then.
    """
    numbers = tuple(map(int, version.split(".")[:2]))
    needed = [one for one in EDITS if one.applies(numbers, includes)]
    texts = {}
    for one in needed:
        path = sources / one.file
        texts[path] = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = texts[path].count(one.old)
        if count != 1:
            sys.exit(
                f"horovod_edits: {path} holds the text that must be replaced {count} times instead of once, so this "
                f"is not Horovod 0.28.1: {one.old.splitlines()[0]!r}; take that release, or correct these edits"
            )
    for one in needed:
        path = sources / one.file
        path.write_text(texts[path].replace(one.old, one.new), encoding="utf-8")
    return [one.why for one in needed]


if __name__ == "__main__":
    for line in edit(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])):
        print(f"horovod_edits: {line}")
