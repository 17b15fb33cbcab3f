"""Every message of the loader, word for word, on a small tree of settings."""

import math
from typing import Optional

import pytest
from pydantic import Field, ValidationError, model_validator

from cloudmask import config as cloudmask_config
from common.config.settings import Settings, load
from common.errors import UserError


class Deep(Settings):
    value: int = 1
    ratio: float = 0.5


class Section(Settings):
    number: int = Field(1, gt=0)
    name: str = "x"
    deep: Deep = Deep()

    @model_validator(mode="after")
    def _odd(self):
        if self.number == 13:
            raise ValueError("13 is refused")
        return self


class Config(Settings):
    section: Section = Section()
    other: Deep = Deep()
    flag: bool = False


class Needy(Settings):
    class Inner(Settings):
        needed: int

    inner: Optional[Inner] = None
    wanted: int


def said(tmp_path, text: str, *overrides: str, model=Config) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(model, path, list(overrides))
    return str(caught.value).replace(str(path), "x.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zzz: 1\n", "x.yaml:1: unknown key 'zzz': the top level has the keys flag, other, section"),
        ("flog: 1\n", "x.yaml:1: unknown key 'flog': did you mean 'flag'?"),
        (
            "section:\n  zzzz: 1\n",
            "x.yaml:2: unknown key 'section.zzzz': section 'section' has the keys deep, name, number",
        ),
        ("section:\n  numbr: 1\n", "x.yaml:2: unknown key 'section.numbr': did you mean 'section.number'?"),
        (
            "section:\n  flag: 1\n",
            "x.yaml:2: unknown key 'section.flag': section 'section' has the keys deep, name, number",
        ),
        ("other:\n  number: 1\n", "x.yaml:2: unknown key 'other.number': did you mean 'section.number'?"),
        ("other:\n  numbers: 1\n", "x.yaml:2: unknown key 'other.numbers': did you mean 'section.number'?"),
        (
            "section:\n  deep:\n    qqq: 1\n",
            "x.yaml:3: unknown key 'section.deep.qqq': section 'section.deep' has the keys ratio, value",
        ),
        (
            "section:\n  deep:\n    valu: 1\n",
            "x.yaml:3: unknown key 'section.deep.valu': did you mean 'section.deep.value'?",
        ),
        ("section:\n  deep:\n    value: x\n", "x.yaml:3: 'section.deep.value' should be a valid integer (found: 'x')"),
        ("section:\n  number: 13\n", "x.yaml:1: 'section' 13 is refused"),
        ("section: 5\n", "x.yaml:1: 'section' should be an object (found: 5)"),
        ("other:\n  ratio: .inf\n", "x.yaml:2: 'other.ratio' should be a finite number (found: inf)"),
        ('section:\n  name: "a\\n"\n', "x.yaml:2: 'section.name' contains a line break"),
        ('section:\n  name: "a\\0"\n', "x.yaml:2: 'section.name' contains a NUL character"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    assert said(tmp_path, text) == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("flag", "override 'flag': expected key=value, such as training.epochs=3"),
        ("=1", "override '=1': expected key=value, such as training.epochs=3"),
        ("flag.a=1", "override 'flag.a=1': 'flag' is a value, not a section"),
        ("section.number.a.b=1", "override 'section.number.a.b=1': 'section.number' is a value, not a section"),
        (
            "section.deep.value=x",
            "override 'section.deep.value=x': 'section.deep.value' should be a valid integer (found: 'x')",
        ),
        ("section.number=13", "override 'section.number=13': 'section' 13 is refused"),
        (
            "section.number=[",
            "override 'section.number=[':1: is not valid YAML: expected the node content, but found '<stream end>'",
        ),
        ("section.name=", None),
        (
            "section.deep.value=null",
            "override 'section.deep.value=null': 'section.deep.value' should be a valid integer (found: None)",
        ),
    ],
)
def test_mistakes_in_an_override(tmp_path, override, message):
    (tmp_path / "x.yaml").write_text("flag: true\nsection: {number: 2}\n")
    if message is None:
        assert load(Config, tmp_path / "x.yaml", [override]).section.name == ""
        return
    text = "flag: true\nsection: {number: 2}\n"
    expected = message.replace("override 'section.number=13': 'section'", "x.yaml:2: 'section'")
    assert said(tmp_path, text, override) == expected


def test_what_is_missing_is_named_with_the_file_or_the_settings(tmp_path):
    assert (
        said(tmp_path, "inner: {}\nwanted: 1\n", model=Needy)
        == "x.yaml:1: 'inner.needed' is missing and has no default"
    )
    assert said(tmp_path, "", model=Needy).endswith("x.yaml: 'wanted' is missing and has no default")
    with pytest.raises(UserError, match=r"^settings: 'wanted' is missing and has no default$"):
        load(Needy)


def test_a_section_that_only_an_override_names_is_blamed_on_it(tmp_path):
    message = said(tmp_path, "flag: true\n", "section.number=13")
    assert message == "override 'section.number=13': 'section' 13 is refused"


def test_a_default_that_is_out_of_range_is_refused_too():
    class Wrong(Settings):
        ratio: float = math.inf

    with pytest.raises(ValidationError):
        Wrong()


def test_keys_of_the_reference_s_form_are_blamed_on_their_line(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("seed: 3\nPATCH_SIZE: 250\n")
    with pytest.raises(UserError, match=rf"^{path}:2: 'data.patch_size' should be a multiple of 8 \(found: 250\)$"):
        cloudmask_config.load(str(path))
