"""Settings as text: YAML with comments for a run's folder, Markdown tables for docs/settings.md."""

import json
import math

import yaml

from common.config.settings import Settings


def dump(settings: Settings) -> str:
    """Return the settings as YAML, each key with its description as a comment; it loads as the same settings."""
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


def setting_rows(model: type[Settings], prefix: str = "") -> list[str]:
    """Return a Markdown table row (key, default, meaning) for each setting.

    Args:
        model: the settings; those of its sections are included.
        prefix: what full names begin with, such as "training.".
    """
    rows: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            rows += setting_rows(field.annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            default_text = json.dumps(list(default) if isinstance(default, tuple) else default)
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            rows.append(f"| `{prefix}{name}` | `{default_text}` | {meaning} |")
    return rows


def as_markdown(rows: list[str]) -> str:
    """Put a heading above `setting_rows`, for a complete Markdown table."""
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def settings_page(models: dict[str, type[Settings]]) -> str:
    """Return the text of docs/settings.md; a test compares the file with it.

    Args:
        models: settings by title. The first are listed in full, the others where they differ from those before.
    """
    sections: list[str] = []
    seen: set[str] = set()
    for title, model in models.items():
        rows = [row for row in setting_rows(model) if row not in seen]
        sections.append(f"## {title}{', where it differs' if seen else ''}\n\n{as_markdown(rows)}\n")
        seen.update(rows)
    return f"""# Settings

Written by `python -m common.config docs`. A YAML file contains these keys in their sections; on the command line,
`section.key=value` overrides them. An unknown key, a wrong type or a value out of range stops the program; the message
gives the line, the value and, for an unknown key, the nearest known one.
`python -m common.config show BENCHMARK [FILE]` prints the settings that a file results in.

The batch size can be set in two ways: `training.local_batch_size` (per rank, so more ranks make a larger global batch)
or `training.global_batch_size` (divided among all ranks). With `training.gradient_accumulation_frequency=k` an update
accumulates the gradients of k passes; the learning-rate schedule counts updates.

{chr(10).join(sections)}"""
