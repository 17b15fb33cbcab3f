"""Files are written whole or not at all, and what is there is never lost."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import UserError
from common.runs import files


def write_half(path) -> None:
    with files.whole(path) as file:
        file.write_text("half of the n")
        raise OSError(28, "No space left on device")


def test_what_is_there_stays_until_the_new_is_complete(tmp_path):
    path = tmp_path / "report.md"
    files.write_text(path, "old")
    with pytest.raises(UserError, match=r"report\.md: cannot be written \(No space left on device"):
        write_half(path)
    assert path.read_text() == "old"
    files.write_text(path, "new")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"report.md": "new"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for number in (1, 2):
        with files.whole(tmp_path / "saved") as folder:
            folder.mkdir()
            (folder / f"part{number}").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["saved", "saved/part2"]


def test_a_mistake_of_the_program_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(ValueError, match="no such name"), files.whole(tmp_path / "x"):
        raise ValueError("no such name")
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_lose_nothing(tmp_path):
    """Eight programs deliver to one path at the same moment, three times each."""
    sources = [tmp_path / f"source{number}" for number in range(8)]
    for source in sources:
        source.write_text(source.name)
    target = tmp_path / "out" / "model"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda source: [files.deliver(source, target) for _ in range(3)], sources))
    found = sorted(path.read_text() for path in target.parent.iterdir())
    assert found == sorted(source.name for source in sources * 3)


def test_a_line_that_cannot_be_written_leaves_none_of_it(tmp_path, monkeypatch):
    path, write = tmp_path / "metrics.jsonl", files.os.write
    files.append(path, b"one")

    def short(descriptor: int, content: bytes) -> int:
        if len(content) < 5:
            raise OSError(5, "Input/output error")
        return write(descriptor, content[:-4])

    monkeypatch.setattr(files.os, "write", short)
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written \(Input/output error"):
        files.append(path, b"the second")
    monkeypatch.undo()
    files.append(path, b"three")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_torn_line_is_ended_first(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    files.append(path, b"three")
    assert path.read_bytes() == b"one\ntw\nthree\n"
