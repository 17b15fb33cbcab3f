"""Parsing of YAML files, with the line of each key for error messages.

Files may be untrusted: their size, their depth and what their aliases expand to are limited, and keys are words. PyYAML
follows YAML 1.1, but for numbers such as 1e-3 and for dates. ruamel.yaml was tried in its place and would need the same
walk over lines, the same limits and exceptions for dates (docs/decisions/006-pyyaml.md).
"""

import re
from pathlib import Path
from typing import Any, NamedTuple, Union

import yaml

from common.errors import UserError

Key = tuple[str, ...]  # path of a setting, such as ("training", "epochs")

_MOST_BYTES = 1 << 20
_MOST_NODES = 100_000  # with every alias expanded
_DEEPEST = 50


class Loader(yaml.SafeLoader):
    """Safe YAML that also takes 1e-3 as a number (YAML 1.2 does, PyYAML's 1.1 wants 1.0e-3)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)
# Dates stay text: no setting is a date.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


class Parsed(NamedTuple):
    """A value, and the line of each key in it."""

    value: Any
    lines: dict[Key, int]


def parse(text: str, where: str) -> Parsed:
    """Parse one YAML document.

    Args:
        text: the document.
        where: what messages begin with, such as the file's path.

    Raises:
        UserError: with the line, if it is not valid YAML, exceeds the limits or has a key twice.
    """
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        lines: dict[Key, int] = {}
        if node is None:
            return Parsed(None, lines)
        _check_size(node, where)
        _collect_lines(where, node, (), lines)
        return Parsed(loader.construct_document(node), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{where}{line}: is not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply, {_DEEPEST} levels at most") from None
    except (ValueError, OverflowError) as error:  # such as a number of 5000 digits
        raise UserError(f"{where}: contains a value that cannot be read ({str(error).split(';')[0]})") from error


def read_yaml(path: Union[str, Path]) -> Parsed:
    """Read a YAML file whose top level is a mapping; an empty file is an empty mapping.

    Returns:
        The mapping as nested dictionaries, and the line of each key.

    Raises:
        UserError: if the file is missing or larger than a settings file can be, for a syntax error, for a key given
            twice, or if the top level is not a mapping.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{str(path)!r:.200}: cannot be read ({error})") from error
    if len(content) > _MOST_BYTES:
        raise UserError(f"{path}: is larger than {_MOST_BYTES} bytes: is this a settings file?")
    tree, lines = parse(text, str(path))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}:1: expected 'key: value' lines, found {tree!r:.60}")
    return Parsed(tree, lines)


def _check_size(root: yaml.Node, where: str) -> None:
    """Raise UserError for a tree that is too deep, too large with its aliases expanded, or part of itself."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if id(node) in open_nodes:
            raise UserError(f"{where}:{node.start_mark.line + 1}: refers to itself")
        if depth > _DEEPEST:
            raise UserError(f"{where}:{node.start_mark.line + 1}: is nested too deeply, {_DEEPEST} levels at most")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in parts)
            open_nodes.discard(id(node))
        if sizes[id(node)] > _MOST_NODES:
            raise UserError(f"{where}:{node.start_mark.line + 1}: expands to more than {_MOST_NODES} values")
        return sizes[id(node)]

    size(root, 0)


def _collect_lines(where: str, node: yaml.Node, key: Key, lines: dict[Key, int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _collect_lines(where, child, (*key, "[]"), {})
    if not isinstance(node, yaml.MappingNode):
        return
    for name_node, value_node in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode) or name_node.tag not in _WORDS:
            key_text = name_node.value if isinstance(name_node, yaml.ScalarNode) else "a list or a section"
            raise UserError(
                f"{where}:{line}: a key must be a word, found {key_text!r:.60}: put it in quotes if it is one"
            )
        inner = (*key, name_node.value)
        if inner in lines:
            raise UserError(f"{where}:{line}: '{'.'.join(inner)}' is given twice, first on line {lines[inner]}")
        lines[inner] = line
        _collect_lines(where, value_node, inner, lines)


_WORDS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
