"""YAML files to frozen, strict, documented settings, with errors that point at the line.

A benchmark's settings are a tree of `Settings` models, each field with a description, a unit and a source.
`load` reads a YAML file, applies `section.key=value` overrides from the command line and checks the whole;
`dump` writes the resolved tree, with each field's description as a comment, into the run folder.

    python -m common.config schema cloudmask > schema.json     a JSON schema for editors
    python -m common.config show cloudmask [FILE] [key=value]  the resolved settings
"""

import difflib
import importlib
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, Union

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import UserError, run_program


class Settings(BaseModel):
    """Base of every section: unknown keys refused, types strict, values frozen, defaults checked too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )


Config = TypeVar("Config", bound=Settings)
Key = tuple  # path of a setting, such as ("training", "epochs")


class _Loader(yaml.SafeLoader):
    """Safe YAML that also takes 1e-3 as a number (YAML 1.2 does, PyYAML's 1.1 wants 1.0e-3)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)
# Dates stay text: no setting is one.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Union[str, Path]) -> tuple:
    """A YAML file's tree and the line of each key: (dict, {key path: line number}).

    Raises UserError for a missing file, a syntax error, a key given twice, or a top level that is no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict = {}
        if node is not None:
            _collect_lines(path, node, (), lines)
        tree = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: is not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}:1: 'key: value' lines expected, found {tree!r:.60}")
    return tree, lines


def _collect_lines(path, node: yaml.Node, key: Key, lines: dict) -> None:
    if isinstance(node, yaml.MappingNode):
        for name_node, value_node in node.value:
            inner = (*key, name_node.value)
            line = name_node.start_mark.line + 1
            if inner in lines:
                raise UserError(f"{path}:{line}: '{'.'.join(inner)}' is given twice, first in line {lines[inner]}")
            lines[inner] = line
            _collect_lines(path, value_node, inner, lines)


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
        try:
            section[key[-1]] = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise UserError(f"override '{text}': the value is not valid YAML") from error
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
    try:
        # Through JSON, in whose strict mode a list is accepted for a tuple and text for a path.
        return model.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise UserError(_describe(model, error.errors(include_url=False)[0], places, source)) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}") from error


def _describe(model: type, mistake: dict, places: dict, source: str) -> str:
    """One line for one of pydantic's mistakes."""
    key = tuple(str(part) for part in mistake["loc"])
    place = next((places[key[:depth]] for depth in range(len(key), 0, -1) if key[:depth] in places), source)
    name = ".".join(key)
    if mistake["type"] == "extra_forbidden":
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
    value = "" if mistake["type"].startswith("model_") else f" (found: {mistake['input']!r:.80})"
    reason = mistake["msg"].replace("Value error, ", "").replace("Input should be", "should be")
    return f"{place}: '{name}' {reason}{value}" if name else f"{place}: {reason}"


def _known_keys(model: type, key: Key) -> list:
    for part in key:
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def _elsewhere(model: type, name: str, cutoff: float) -> list:
    """The full name of a key like `name` in any section; at cutoff 1 of that very name."""
    for section, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            near = difflib.get_close_matches(name, list(field.annotation.model_fields), 1, cutoff)
            if near:
                return [f"{section}.{near[0]}"]
    return []


def dump(settings: Settings) -> str:
    """The settings as YAML, each key with its description as a comment. Loads back to the same settings."""
    lines: list = []
    _dump_section(settings, 0, lines)
    return "\n".join(lines) + "\n"


def _dump_section(settings: Settings, indent: int, lines: list) -> None:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        pad = "  " * indent
        if isinstance(value, Settings):
            lines.append(f"{pad}{name}:")
            _dump_section(value, indent + 1, lines)
        else:
            plain = settings.model_dump(mode="json", include={name})[name]
            text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf).replace("\n...", "").strip()
            comment = f"  # {' '.join(field.description.split())}" if field.description else ""
            lines.append(f"{pad}{name}: {text}{comment}")


def as_markdown(model: type, prefix: str = "") -> list:
    """A table row a setting: key, default, meaning. For README.md, which a test holds to this."""
    rows: list = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += as_markdown(field.annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            default = list(default) if isinstance(default, tuple) else default
            shown = json.dumps(default if not isinstance(default, Path) else str(default))
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            rows.append(f"| `{prefix}{name}` | `{shown}` | {meaning} |")
    return rows


def settings_of(package: str) -> Any:
    """The config module of a benchmark package, by its name."""
    try:
        return importlib.import_module(f"{package}.config")
    except ImportError as error:
        raise UserError(f"no benchmark package named '{package}' here") from error


def main() -> int:
    usage = "usage: python -m common.config schema|table PACKAGE, or show PACKAGE [FILE] [key=value ...]"
    command, package, *rest = (*sys.argv[1:], "", "")[: max(2, len(sys.argv) - 1)]
    if command not in ("schema", "table", "show") or not package:
        raise UserError(usage)
    module = settings_of(package)
    if command == "schema":
        print(json.dumps(module.Config.model_json_schema(), indent=2))
    elif command == "table":
        print("\n".join(["| key | default | meaning |", "| --- | --- | --- |", *as_markdown(module.Config)]))
    else:
        files = [text for text in rest if "=" not in text and text]
        print(dump(module.load(files[0] if files else None, [text for text in rest if "=" in text])), end="")
    return 0


if __name__ == "__main__":
    run_program(main)
