"""Frozen, strict, documented settings from YAML files, with errors that point to the line.

A benchmark's settings are a tree of `Settings` models, each field with a description, a unit and a source.
`load` reads a YAML file, applies `section.key=value` overrides from the command line and validates the result;
`common.config.render.dump` writes the resolved settings, each with its description as a comment, into the run folder.

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
    """Base class of every section: refuses unknown keys, checks types strictly and defaults too, and is frozen.

    Attributes:
        gone: full names of keys and sections that were removed, or that only other programs have, each with the rest of
            the message "'NAME' ..." for a user who gives it. Only read from a benchmark's whole settings.
    """

    gone: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    @classmethod
    def complete(cls, tree: dict) -> dict:
        """Return a file's tree with values added for missing keys whose defaults depend on other keys."""
        return tree


# A field's json_schema_extra: a resumed run may have another value, because it does not change what an update computes.
MAY_CHANGE: dict[str, Any] = {"may_change": True}


def changeable(model: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    """Return the full names of the settings that may differ between a run and its continuation."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += changeable(field.annotation, f"{prefix}{name}.")
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("may_change"):
            names.append(f"{prefix}{name}")
    return tuple(names)


def refusal(name: str, why: str, value: Any) -> PydanticCustomError:
    """Return the error for a validator of several settings to raise about one of them.

    Args:
        name: full name of the setting.
        why: rest of the message "'NAME' ...".
        value: the refused value.
    """
    return PydanticCustomError("refused", "{why}", {"name": name, "why": why, "value": repr(value)})


class Recipe(Settings):
    """Base class of a benchmark's whole settings, whose first key says which benchmark they are for."""

    benchmark: str

    @field_validator("benchmark", mode="before")
    @classmethod
    def _in_any_case(cls, name: object) -> object:
        """Accept capitals, as in the reference programs' files."""
        return name.lower() if isinstance(name, str) else name


Config = TypeVar("Config", bound=Settings)


def apply_overrides(tree: dict, overrides: list, locations: dict) -> None:
    """Set the values of command-line overrides in a tree of settings.

    Args:
        tree: nested dictionaries, changed in place.
        overrides: texts `section.key=value`, the value in YAML.
        locations: where each key stands, for messages; changed in place, an override's location is its own text.

    Raises:
        UserError: if an override has another form, or takes a value for a section.
    """
    for text in overrides:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UserError(f"override '{text}': expected key=value, such as training.epochs=3")
        if "\n" in text or "\r" in text:  # YAML would take it for a space
            raise UserError(f"override {text!r:.200}: contains a line break: leave it out")
        key = tuple(name.strip().split("."))
        section = tree
        for depth, part in enumerate(key[:-1], 1):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise UserError(f"override '{text}': '{'.'.join(key[:depth])}' is a value, not a section")
        parsed = parse(value, f"override '{text}'").value
        # `section.key=` gives an empty text, where YAML would give null.
        section[key[-1]] = "" if parsed is None and not value.strip() else parsed
        for depth in range(1, len(key) + 1):
            locations.setdefault(key[:depth], f"override '{text}'")
        locations[key] = f"override '{text}'"


def load(
    model: type[Config],
    path: Optional[Union[str, Path]] = None,
    overrides: Optional[list] = None,
    translate: Optional[Callable[[dict, dict], Optional[dict]]] = None,
) -> Config:
    """Load settings from a YAML file, or the defaults, with overrides on top, and validate them.

    Args:
        model: the benchmark's settings.
        path: the YAML file; None for the defaults.
        overrides: texts `section.key=value`.
        translate: called with the tree and the location of each key. It translates another program's flat keys into
            {(section, key): (value, that program's key)}, or returns None for a tree that needs no translation.

    Raises:
        UserError: with the file and line (or the override), the key, the refused value and, for an unknown key, the
            nearest known one.
    """
    tree, lines = read_yaml(path) if path is not None else ({}, {})
    locations = {key: f"{path}:{line}" for key, line in lines.items()}
    translated = translate(tree, locations) if translate is not None else None
    if translated is not None:
        tree, locations = _nest(translated, locations)
    apply_overrides(tree, overrides or [], locations)
    return check(model, tree, locations, str(path or "settings"))


def _nest(translated: dict, locations: dict) -> tuple:
    """Turn what `translate` returned into a tree of sections and the location of each key in it."""
    tree: dict = {}
    new_locations = {}
    for key, (value, source) in translated.items():
        section = tree
        for part in key[:-1]:
            section = section.setdefault(part, {})
        section[key[-1]] = value
        new_locations[key] = locations.get((source,), source)
    return tree, new_locations


def check(model: type[Config], tree: dict, locations: dict, source: str) -> Config:
    """Validate a tree of settings.

    Args:
        model: the benchmark's settings.
        tree: nested dictionaries.
        locations: where each key stands, such as "FILE:LINE", for messages.
        source: location for keys without one.

    Raises:
        UserError: for the first mistake.
    """
    _refuse_control_characters(tree, (), locations, source)
    try:
        # Through JSON, in whose strict mode a list is accepted for a tuple and text for a path.
        return model.model_validate_json(json.dumps(model.complete(tree)))
    except ValidationError as error:
        raise UserError(_describe(model, error.errors(include_url=False)[0], locations, source)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: {error}") from error


def _refuse_control_characters(value: Any, key: Key, locations: dict, source: str) -> None:
    """Raise UserError for a text with a NUL character or a line break, which no name of a file should contain, nor any
    other value: messages, logs and job scripts take each for one line."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_control_characters(inner, (*key, str(name)), locations, source)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_control_characters(inner, key, locations, source)
    elif isinstance(value, str) and not value.isprintable():
        for character, name in (("\0", "a NUL character"), ("\n", "a line break"), ("\r", "a line break")):
            if character in value:
                raise UserError(f"{locations.get(key, source)}: '{'.'.join(key)}' contains {name}")


def _describe(model: type[BaseModel], mistake: ErrorDetails, locations: dict, source: str) -> str:
    """Return the message for one of pydantic's errors."""
    key = tuple(str(part) for part in mistake["loc"])
    refused = mistake.get("ctx", {}) if mistake["type"] == "refused" else {}
    if refused:
        key = tuple(refused["name"].split("."))
    location = next((locations[key[:depth]] for depth in range(len(key), 0, -1) if key[:depth] in locations), source)
    name = ".".join(key)
    if mistake["type"] == "extra_forbidden":
        for depth in range(1, len(key) + 1):
            reason = getattr(model, "gone", {}).get(".".join(key[:depth]))
            if reason:
                return f"{location}: '{name}' {reason}"
        known = _known_keys(model, key[:-1])
        near = (
            _elsewhere(model, key[-1], 1.0)
            or [".".join((*key[:-1], match)) for match in difflib.get_close_matches(key[-1], known, 1, 0.5)]
            or _elsewhere(model, key[-1], 0.8)
        )
        section = f"section '{'.'.join(key[:-1])}'" if len(key) > 1 else "the top level"
        hint = f"did you mean '{near[0]}'?" if near else f"{section} has the keys {', '.join(sorted(known))}"
        return f"{location}: unknown key '{name}': {hint}"
    if mistake["type"] == "missing":
        return f"{location}: '{name}' is missing and has no default"
    if refused:
        return f"{location}: '{name}' {refused['why']} (found: {refused['value']:.80})"
    reason = mistake["msg"].replace("Value error, ", "").replace("Input should be", "should be")
    if mistake["type"] == "literal_error" and isinstance(mistake["input"], str):
        reason += _nearest(mistake["input"], str(mistake["ctx"]["expected"]))
    value = "" if isinstance(mistake["input"], dict) else f" (found: {mistake['input']!r:.80})"
    return f"{location}: '{name}' {reason}{value}" if name else f"{location}: {reason}"


def _nearest(name: str, choices: str) -> str:
    """Return a hint at the nearest of `choices`, which pydantic lists in quotes; empty if none is near."""
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
    """Return the full name of a key in any section whose name is `name` (cutoff 1) or similar; empty if none is."""
    for section, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            near = difflib.get_close_matches(name, list(field.annotation.model_fields), 1, cutoff)
            if near:
                return [f"{section}.{near[0]}"]
    return []
