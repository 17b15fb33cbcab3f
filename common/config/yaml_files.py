"""YAML files to trees, with the line of each key, by which mistakes are reported."""

import re
from pathlib import Path
from typing import Union

import yaml

from common.errors import UserError

Key = tuple  # path of a setting, such as ("training", "epochs")


class Loader(yaml.SafeLoader):
    """Safe YAML that also takes 1e-3 as a number (YAML 1.2 does, PyYAML's 1.1 wants 1.0e-3)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)
# Dates stay text: no setting is one.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
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
        loader = Loader(text)
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
