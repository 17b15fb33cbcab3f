"""Settings as text: YAML with comments for a run's folder, Markdown tables for docs/reference/settings.md."""

import json
import math

import yaml

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


def setting_rows(model: type[Settings], prefix: str = "") -> list[str]:
    """A Markdown table's row for each setting: key, default, meaning."""
    rows: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            rows += setting_rows(field.annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            shown = json.dumps(list(default) if isinstance(default, tuple) else default)
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            rows.append(f"| `{prefix}{name}` | `{shown}` | {meaning} |")
    return rows


def as_markdown(rows: list[str]) -> str:
    """A table of `setting_rows`."""
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def settings_page(models: dict[str, type[Settings]]) -> str:
    """Return docs/reference/settings.md: the settings of the first model, and of the others where they differ."""
    sections: list[str] = []
    seen: set[str] = set()
    for title, model in models.items():
        rows = [row for row in setting_rows(model) if row not in seen]
        sections.append(f"## {title}{', where it differs' if seen else ''}\n\n{as_markdown(rows)}\n")
        seen.update(rows)
    return f"""# Settings

Written by `python -m common.config docs`. A YAML file holds sections of these keys, and the command line overrides them
as `section.key=value`. An unknown key, a wrong type or a value out of range stops the program with the line, the value
and the nearest known key. `python -m common.config show BENCHMARK [FILE]` prints what a file gives.

Two ways to set the batch: `training.local_batch_size` (per rank, so more ranks make a larger global batch) or
`training.global_batch_size` (shared by all ranks). `training.gradient_accumulation_frequency=k` takes one step from k
passes; the learning-rate schedule counts steps.

{chr(10).join(sections)}"""
