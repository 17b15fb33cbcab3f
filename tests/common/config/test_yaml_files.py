"""YAML from strangers: whatever it holds, one line, and soon."""

import pytest

from cloudmask import config
from common.config.yaml_files import read_yaml
from common.errors import UserError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "expands to more than 100000 values"),
        ("a: &a [*a]\n", "refers to itself"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "nested too deeply, 50 levels at most"),
        ("a: " + "[" * 5000, "nested too deeply|not valid YAML"),
        ("3: 4\n", "1: a key must be a word, found '3'"),
        ("yes: 4\n", "1: a key must be a word, found 'yes'"),
        ("[1, 2]: 4\n", "1: a key must be a word, found 'a list or a section'"),
        ("? {a: 1}\n: 4\n", "a key must be a word"),
        ("training: {epochs: " + "9" * 5000 + "}\n", "contains a value that cannot be read"),
        ('data: {train_dir: "a\\0b"}\n', "'data.train_dir' contains a NUL character"),
        ("a: \0\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "is not valid YAML"),
        ("data: [{a: 1, a: 2}]\n", r"'data.\[\].a' is given twice"),
    ],
    ids=lambda value: value.strip()[:24],
)
def test_hostile_files_are_one_line(tmp_path, text, message):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        config.load(str(tmp_path / "x.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=" + "9" * 5000, "contains a value that cannot be read"),
        ("training.epochs=&a [*a]", "refers to itself"),
        ("training.epochs={3: 4}", "a key must be a word"),
        ("data.train_dir='a\0b'", "is not valid YAML"),
        ("data.reflectance_range=[5, 1]", r"'data.reflectance_range' must be \[lowest, highest\]"),
        ("data.temperature_range_kelvin=[300, 300]", r"must be \[lowest, highest\]"),
        ("output.run_name=../x", "'output.run_name' must be the name of one folder"),
        ("output.run_name=" + "x" * 300, "'output.run_name' must be the name of one folder"),
        ("training.seed=4294967296", "'training.seed' should be less than or equal to 4294967295"),
        ("threads=100000", "'threads' should be less than or equal to 4096"),
        ("training.local_batch_size=0", "'training.local_batch_size' should be greater than 0"),
    ],
)
def test_hostile_overrides_and_values_out_of_range_are_one_line(override, message):
    with pytest.raises(UserError, match=message) as caught:
        config.load(None, [override])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 12000


def test_an_empty_override_unsets():
    assert config.load(None, ["inference.model_file="]).inference.model_file == ""


def test_a_large_file_and_odd_names_are_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("#" * (2 << 20))
    with pytest.raises(UserError, match="is larger than 1048576 bytes"):
        read_yaml(tmp_path / "x.yaml")
    for name in ("a\0b.yaml", "x" * 300, str(tmp_path)):
        with pytest.raises(UserError, match="cannot be read"):
            read_yaml(name)


def test_what_a_terminal_would_obey_is_shown_as_its_code(tmp_path):
    with pytest.raises(UserError) as caught:
        config.load(None, ["training.\x1b[31mred=1"])
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[31mred" in str(caught.value)
