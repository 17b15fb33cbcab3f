"""YAML files to frozen, strict, documented settings, with errors that point at the line.

A benchmark's settings are a tree of `Settings` models, each field with a description, a unit and a source.
`load` reads a YAML file, applies `section.key=value` overrides from the command line and checks the whole;
`dump` writes the resolved tree, with each field's description as a comment, into the run folder.

    python -m common.config schema BENCHMARK > schema.json     a JSON schema for editors
    python -m common.config show BENCHMARK [FILE] [key=value]  the resolved settings
"""

import difflib
import json
import re
from pathlib import Path
from typing import Any, Callable, ClassVar, Optional, TypeVar, Union

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from common.config.yaml_files import Key, parse, read_yaml
from common.errors import UserError


class Settings(BaseModel):
    """Base of every section: unknown keys refused, types strict, values frozen, defaults checked too.

    gone: of a whole tree, full names of keys and sections that it does not have, but somewhere else or at another time;
    each with what its message says.
    """

    gone: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    @classmethod
    def complete(cls, tree: dict) -> dict:
        """The tree of a file with values for keys that it leaves out, where these depend on others that it gives."""
        return tree


# A field's json_schema_extra: a run that is resumed may have another value, which does not change what a step computes.
MAY_CHANGE: dict[str, Any] = {"may_change": True}


def changeable(model: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    """Full names of the settings that may differ between a run and its continuation."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += changeable(field.annotation, f"{prefix}{name}.")
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("may_change"):
            names.append(f"{prefix}{name}")
    return tuple(names)


def refusal(name: str, why: str, value: Any) -> PydanticCustomError:
    """What a validator of the whole raises about one setting, given by its full name."""
    return PydanticCustomError("refused", "{why}", {"name": name, "why": why, "value": repr(value)})


class Recipe(Settings):
    """Base of a benchmark's whole settings, whose first key says which benchmark they are for."""

    benchmark: str

    @field_validator("benchmark", mode="before")
    @classmethod
    def _in_any_case(cls, name: object) -> object:
        """As reference programs write it, with capitals."""
        return name.lower() if isinstance(name, str) else name


Config = TypeVar("Config", bound=Settings)


def apply_overrides(tree: dict, overrides: list, places: dict) -> None:
    """Set `section.key=value` (the value in YAML) in `tree`; their place in messages is the override itself."""
    for text in overrides:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UserError(f"override '{text}': expected key=value, such as training.epochs=3")
        key = tuple(name.strip().split("."))
        section = tree
        for depth, part in enumerate(key[:-1], 1):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise UserError(f"override '{text}': '{'.'.join(key[:depth])}' is a value, not a section")
        parsed = parse(value, f"override '{text}'").value
        # `section.key=` unsets: an empty text, where YAML has its null.
        section[key[-1]] = "" if parsed is None and not value.strip() else parsed
        for depth in range(1, len(key) + 1):
            places.setdefault(key[:depth], f"override '{text}'")
        places[key] = f"override '{text}'"


def load(
    model: type[Config],
    path: Optional[Union[str, Path]] = None,
    overrides: Optional[list] = None,
    translate: Optional[Callable[[dict, dict], Optional[dict]]] = None,
) -> Config:
    """The checked settings of a YAML file (or the defaults) with overrides on top.

    translate: called with the tree and the place of each key; rewrites another program's flat keys into our tree, as
        {(section, key): (value, its key there)}, or returns None for a tree that is ours already.
    Raises UserError naming the file and line (or the override), the key, the value refused, and for an unknown key
    the nearest known one.
    """
    tree, lines = read_yaml(path) if path is not None else ({}, {})
    places = {key: f"{path}:{line}" for key, line in lines.items()}
    foreign = translate(tree, places) if translate is not None else None
    if foreign is not None:
        tree, places = _graft(foreign, places)
    apply_overrides(tree, overrides or [], places)
    return check(model, tree, places, str(path or "settings"))


def _graft(foreign: dict, places: dict) -> tuple:
    tree: dict = {}
    new_places = {}
    for key, (value, source) in foreign.items():
        section = tree
        for part in key[:-1]:
            section = section.setdefault(part, {})
        section[key[-1]] = value
        new_places[key] = places.get((source,), source)
    return tree, new_places


def check(model: type[Config], tree: dict, places: dict, source: str) -> Config:
    """Validate a tree; the first mistake becomes a UserError. `places` says where each key stands."""
    _refuse_nul(tree, (), places, source)
    try:
        # Through JSON, in whose strict mode a list is accepted for a tuple and text for a path.
        return model.model_validate_json(json.dumps(model.complete(tree)))
    except ValidationError as error:
        raise UserError(_describe(model, error.errors(include_url=False)[0], places, source)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: {error}") from error


def _refuse_nul(value: Any, key: Key, places: dict, source: str) -> None:
    """No file's name, nor anything else that the settings name, can hold a NUL."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nul(inner, (*key, str(name)), places, source)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_nul(inner, key, places, source)
    elif isinstance(value, str) and "\0" in value:
        raise UserError(f"{places.get(key, source)}: '{'.'.join(key)}' holds a NUL character")


def _describe(model: type[BaseModel], mistake: ErrorDetails, places: dict, source: str) -> str:
    """One line for one of pydantic's mistakes."""
    key = tuple(str(part) for part in mistake["loc"])
    refused = mistake.get("ctx", {}) if mistake["type"] == "refused" else {}
    if refused:
        key = tuple(refused["name"].split("."))
    place = next((places[key[:depth]] for depth in range(len(key), 0, -1) if key[:depth] in places), source)
    name = ".".join(key)
    if mistake["type"] == "extra_forbidden":
        for depth in range(1, len(key) + 1):
            reason = getattr(model, "gone", {}).get(".".join(key[:depth]))
            if reason:
                return f"{place}: '{name}' {reason}"
        known = _known_keys(model, key[:-1])
        near = (
            _elsewhere(model, key[-1], 1.0)
            or [".".join((*key[:-1], match)) for match in difflib.get_close_matches(key[-1], known, 1, 0.5)]
            or _elsewhere(model, key[-1], 0.8)
        )
        section = f"section '{'.'.join(key[:-1])}'" if len(key) > 1 else "the top level"
        hint = f"did you mean '{near[0]}'?" if near else f"{section} knows: {', '.join(sorted(known))}"
        return f"{place}: unknown key '{name}': {hint}"
    if mistake["type"] == "missing":
        return f"{place}: '{name}' is missing and has no default"
    if refused:
        return f"{place}: '{name}' {refused['why']} (found: {refused['value']:.80})"
    reason = mistake["msg"].replace("Value error, ", "").replace("Input should be", "should be")
    if mistake["type"] == "literal_error" and isinstance(mistake["input"], str):
        reason += _nearest(mistake["input"], str(mistake["ctx"]["expected"]))
    value = "" if isinstance(mistake["input"], dict) else f" (found: {mistake['input']!r:.80})"
    return f"{place}: '{name}' {reason}{value}" if name else f"{place}: {reason}"


def _nearest(name: str, choices: str) -> str:
    """choices: as pydantic lists them, each in quotes."""
    near = difflib.get_close_matches(name, re.findall(r"'([^']*)'", choices), 1, 0.5)
    return f": did you mean '{near[0]}'?" if near else ""


def _known_keys(model: type[BaseModel], key: Key) -> list[str]:
    for part in key:
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def _elsewhere(model: type[BaseModel], name: str, cutoff: float) -> list[str]:
    """The full name of a key like `name` in any section; at cutoff 1 of that very name."""
    for section, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            near = difflib.get_close_matches(name, list(field.annotation.model_fields), 1, cutoff)
            if near:
                return [f"{section}.{near[0]}"]
    return []
