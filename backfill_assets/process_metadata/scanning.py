"""The folder of process models: which models there are, which fields each asks for, and what cannot be read.

Here belongs how the product keeps its models on disk. Whether a field is new belongs to `detection.py`. What cannot be
read is a problem that names file and line, never a model without fields.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from backfill_assets.core.metadata import Paths
from backfill_assets.errors import PermanentError

MODEL_FILE = "process_model.json"
PATHS = "metadata_extraction_paths"
SETTLED_NANOSECONDS = 2_000_000_000
"""A file younger than this may change once more without looking different: file systems keep time coarsely."""

LONGEST_KEY = 255
"""What the product's column takes."""

Stamp = tuple[str, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What the folder looks like: a stamp for each file of a model, and the folders that cannot be looked into."""

    root: Path
    stamps: Sequence[Stamp]
    problems: Mapping[str, str]

    @property
    def models(self) -> Sequence[str]:
        """The ids of the models, in order."""
        return [stamp[0] for stamp in self.stamps]

    @property
    def digest(self) -> str:
        """The same for two listings that look the same."""
        return sha256(repr((str(self.root), self.stamps, sorted(self.problems))).encode()).hexdigest()

    def is_settled(self, now_ns: int) -> bool:
        """Whether nothing can have changed since without being seen; `now_ns` is the time before listing."""
        return all(max(stamp[1:3]) < now_ns - SETTLED_NANOSECONDS for stamp in self.stamps)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the models ask for.

    `fields` are of the models that could be read. `problems` say by model or folder what could not: nothing is known
    of these, nor of what lies below. `remarks` say what was read, but hardly meant so.
    """

    fields: Mapping[str, Paths]
    problems: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    def is_unknown(self, model: str) -> bool:
        """Whether a model that was not read may be there all the same."""
        return any(model == place or not place or model.startswith(f"{place}/") for place in self.problems)


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What one file asks for; `problem` says why it cannot be read."""

    paths: Paths = field(default_factory=dict)
    problem: str = ""
    remarks: Sequence[str] = ()


def list_models(root: Path) -> Listing:
    """Look at every model's file without opening it; raises `PermanentError` where the folder itself is not there."""
    stamps: list[Stamp] = []
    problems: dict[str, str] = {}
    try:
        with os.scandir(root):
            pass
    except OSError as error:
        raise PermanentError(
            f"The folder of process models {root} cannot be read ({error.strerror}); mount it, or correct "
            "SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR. Nothing is forgotten meanwhile."
        ) from error
    left = [("", str(root))]
    while left:
        name, folder = left.pop()
        try:
            left.extend(_look(name, folder, stamps))
        except OSError as error:
            problems[name] = f"folder {folder} cannot be read: {error.strerror}"
    return Listing(root=root, stamps=sorted(stamps), problems=problems)


def _look(name: str, folder: str, stamps: list[Stamp]) -> Iterator[tuple[str, str]]:
    """Note the folder's model, and give the folders in it; hidden ones hold no models (`.git` holds many files)."""
    below: list[tuple[str, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == MODEL_FILE and name:
                found = entry.stat()
                stamps.append((name, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))
            elif not entry.name.startswith(".") and entry.is_dir() and not _leads_back(entry):
                below.append((f"{name}/{entry.name}" if name else entry.name, entry.path))
    yield from below


def _leads_back(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return False
    here, there = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return f"{here}/".startswith(f"{there}/")


def read_models(listing: Listing) -> Scan:
    """Open every file that was listed."""
    fields: dict[str, Paths] = {}
    problems = dict(listing.problems)
    remarks: list[str] = []
    for model in listing.models:
        found = read_model(listing.root, model)
        if found.problem:
            problems[model] = found.problem
        else:
            fields[model] = found.paths
        remarks.extend(found.remarks)
    return Scan(fields=fields, problems=problems, remarks=tuple(remarks))


def model_file(root: Path, model: str) -> Path:
    """Where the product keeps this model."""
    return root.joinpath(*model.split("/"), MODEL_FILE)


def read_model(root: Path, model: str) -> ModelFile:
    """What one model asks for."""
    file = model_file(root, model)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return ModelFile(problem=f"{file}, line {line}: not UTF-8")
    except OSError as error:
        return ModelFile(problem=f"{file}: {error.strerror}")
    try:
        return _read(file, text, json.loads(text))
    except json.JSONDecodeError as error:
        return ModelFile(problem=f"{file}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})")
    except (RecursionError, ValueError) as error:
        return ModelFile(problem=f"{file}, line 1: not JSON ({type(error).__name__})")


def _read(file: Path, text: str, content: Any) -> ModelFile:
    if not isinstance(content, dict):
        return ModelFile(problem=f"{file}, line 1: must hold an object, as the product writes it")
    entries = content.get(PATHS)
    if entries is None:
        return ModelFile()
    if not isinstance(entries, list):
        return ModelFile(problem=f"{file}, line {_line(text)}: {PATHS} must be null or a list")
    paths: dict[str, str] = {}
    remarks = []
    for number, entry in enumerate(entries):
        if flaw := _flaw(entry):
            return ModelFile(problem=f"{file}, line {_line(text, number)}: {PATHS} entry {number + 1} {flaw}")
        if entry["key"] in paths:
            where = f"{file}, line {_line(text, number)}"
            remarks.append(f"{where}: key {entry['key']!r} is there twice; its last path counts")
        paths[entry["key"]] = entry["path"]
    return ModelFile(paths=paths, remarks=tuple(remarks))


def _flaw(entry: Any) -> str:
    """What is wrong with an entry, as words to follow its number."""
    if not isinstance(entry, dict):
        return 'must be an object like {"key": "customer", "path": "customer.id"}'
    for name in ("key", "path"):
        if name not in entry:
            return f"has no {name!r}"
        if not isinstance(entry[name], str):
            return f"must have a text as its {name!r}"
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in entry[name]):
            return f"has a {name!r} that no database can hold"
    if len(entry["key"]) > LONGEST_KEY:
        return f"has a 'key' of more than {LONGEST_KEY} characters, which the product cannot hold"
    return ""


def _line(text: str, number: int = 0) -> int:
    """The line on which this entry of the list of paths begins, or the value where it is no list; the text is JSON."""
    found = list(_NAME.finditer(text))
    if not found:
        return 1  # its name is written with escapes
    at = found[-1].end()
    if text[at] == "[":
        for entry in range(number + 1):
            at = _after_gap(text, at + 1)
            end = _DECODER.raw_decode(text, at)[1]
            at = at if entry == number else _after_gap(text, end)  # where the comma is
    return text.count("\n", 0, at) + 1


def _after_gap(text: str, at: int) -> int:
    return next(place for place in range(at, len(text)) if text[place] not in " \t\r\n")


_NAME = re.compile(rf'"{PATHS}"\s*:\s*')
_DECODER = json.JSONDecoder()
