"""A folder of process models for tests, as the product keeps it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONG_AGO = 1_700_000_000


def write_model(root: Path, model: str, paths: Mapping[str, str] | list[Any] | None, *, age: int = LONG_AGO) -> Path:
    """Write a model with these paths by key, or with this list; `age` is when it was last written, in seconds."""
    entries = [{"key": key, "path": path} for key, path in paths.items()] if isinstance(paths, Mapping) else paths
    content = {"display_name": model, "metadata_extraction_paths": entries, "primary_file_name": "main.bpmn"}
    file = root / model / "process_model.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=4, sort_keys=True))
    os.utime(file, (age, age))
    return file
