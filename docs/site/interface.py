"""Pages of the Python interface, one a room: signatures and docstrings of public modules, read and not imported."""

import ast
import re
import textwrap
from pathlib import Path
from typing import Union

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
PACKAGES = ("common", "cloudmask", "tf_deepcam")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
WIDTH = 100


def pages(root: Path) -> dict[str, str]:
    """Return the pages in Markdown by their names: python.md, which lists the others, and python/PACKAGE.ROOM.md."""
    rooms: dict[str, list[str]] = {}
    purposes: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if not any(word.startswith("_") for word in name.split(".")):
                room = ".".join(name.split(".")[:2])
                tree = ast.parse(path.read_text(encoding="utf-8"))
                purposes[name] = _first_sentence(tree)
                rooms.setdefault(room, []).append(_module(name, tree))
    lines = [f"| [{room}](python/{room}.md) | {_escape(purposes[room])} |" for room in rooms]
    table = "\n".join(["| module | purpose |", "| --- | --- |", *lines])
    index = f"# Python interface\n\nPublic modules, from their docstrings.\n\n{table}\n"
    return {"python.md": index, **{f"python/{room}.md": f"# {room}\n\n" + "\n".join(rooms[room]) for room in rooms}}


def _first_sentence(tree: ast.Module) -> str:
    text = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)])[.:;] ", text)[0].rstrip(".:;")


def _module(name: str, tree: ast.Module) -> str:
    parts = [f"## {name}\n" if name.count(".") > 1 else "", markdown(ast.get_docstring(tree) or "")]
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *Function)) and not node.name.startswith("_"):
            parts += [f"### {_escape(node.name)}\n", _signature(node), markdown(ast.get_docstring(node) or "")]
            if isinstance(node, ast.ClassDef):
                methods = [each for each in node.body if isinstance(each, Function) and not each.name.startswith("_")]
                for method in methods:
                    parts += [_signature(method), markdown(ast.get_docstring(method) or "")]
    return "\n".join(part for part in parts if part)


def _signature(node: Union[ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef]) -> str:
    """The definition's head without its body, as a block of code."""
    head = ast.unparse(ast.copy_location(_without_body(node), node)).rsplit(":", 1)[0]
    return "```python\n" + textwrap.fill(head, WIDTH, subsequent_indent="    ", break_on_hyphens=False) + "\n```\n"


def _without_body(node: Union[ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef]) -> ast.stmt:
    fields = {**dict(ast.iter_fields(node)), "body": [ast.Expr(ast.Constant(...))], "decorator_list": []}
    return type(node)(**fields)


def markdown(docstring: str) -> str:
    """Return a docstring in Google style as Markdown: what is aligned by spaces in it stays as it is, in blocks."""
    first, *rest = SECTION.split(docstring)
    parts = [_block(block) for block in re.split(r"\n\s*\n", first) if block.strip()]
    for title, body in zip(rest[::2], rest[1::2]):
        text, *following = re.split(r"\n\s*\n(?=\S)", body.strip("\n"))
        text = textwrap.dedent(text)
        parts.append(f"**{title}**\n\n{_entries(text) if title in ('Args', 'Attributes', 'Raises') else _block(text)}")
        parts += [_block(block) for block in following]
    return "\n".join(parts)


def _entries(text: str) -> str:
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", text.strip())]
    named = (entry.partition(": ") for entry in entries)
    return "\n".join(f"- `{name}`{colon}{_escape(meaning)}" for name, colon, meaning in named) + "\n"


def _block(text: str) -> str:
    lines = text.strip("\n").splitlines()
    if any(re.search(r"^\s|\S\s{3,}\S", line) for line in lines):
        return "```\n" + textwrap.dedent("\n".join(lines)) + "\n```\n"
    return _escape("\n".join(lines)) + "\n"


def _escape(text: str) -> str:
    """Text whose markup is shown as it stands, but for `code`."""
    outside = re.sub(r"([\\*_\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")
    if "`" not in text or text.count("`") % 2:
        return outside.replace("`", "\\`")
    parts = text.split("`")
    parts[::2] = [_escape(part) for part in parts[::2]]
    return "`".join(parts)
