"""Settings as text: YAML with comments for a run's folder, Markdown tables for docs/settings.md."""

import json
import math
from pathlib import Path

import yaml
from pydantic import BaseModel

from common.config.settings import Settings


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
