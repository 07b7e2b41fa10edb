"""Reading a settings file: YAML or JSON to plain values, plain values to a checked section, errors to sentences.

Here belongs what all settings files share. What a services file may say belongs to `configuration.services`, what a
tenants file may say to `configuration.tenants`. No sentence shows a value that could be a secret: values are shown only
for settings that this program knows, and only numbers and short texts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from backfill_assets.errors import ConfigurationError

_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_TOO_DEEP = "its mappings or lists are nested too deeply"


class Problems:
    """Collects sentences, so that a person sees everything that is wrong at once."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    def add(self, *sentences: str) -> None:
        """Add these; one that is known already is told once."""
        self._sentences.update(dict.fromkeys(sentences))

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Turn a `ConfigurationError` of the block into collected sentences."""
        try:
            yield
        except ConfigurationError as error:
            self.add(*str(error).split("\n"))

    def taken(self) -> tuple[str, ...]:
        """All of them, for a person; none is left."""
        taken, self._sentences = tuple(self._sentences), {}
        return taken

    def refuse(self) -> None:
        """Raise all of them, one a line; with none, do nothing."""
        if self._sentences:
            raise ConfigurationError("\n".join(self._sentences))


class Section(BaseModel):
    """One mapping of a settings file; a section that is written but left blank sets nothing.

    `elsewhere` maps a key that people look for here to the end of a sentence that says where it belongs;
    `{parent}` in it stands for the name of this section.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    elsewhere: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _blank_sets_nothing(cls, value: Any) -> Any:
        return {} if value is None else value


S = TypeVar("S", bound=Section)


def checked(kind: type[S], value: object, *, file: str, path: Sequence[str] = ()) -> S:
    """This value of a file as a section; `path` says where in the file it is. One sentence per problem."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        sentences = [_sentence(kind, problem, file=file, path=path) for problem in error.errors()]
    # Raised out here, so that pydantic's own error, which shows values, is not carried along as the context.
    raise ConfigurationError("\n".join(sentences))


def dotted(*path: str | int) -> str:
    """The path of a setting for a sentence; names that would blur it are quoted."""
    return ".".join(str(part) if re.fullmatch(r"[\w/-]+", str(part)) else repr(part) for part in path)


def hint(name: str, known: Sequence[str]) -> str:
    """What may have been meant by a name that is not known: the one that looks like it, else all there are."""
    if near := get_close_matches(name, known, n=1):
        return f"the nearest known one is {near[0]}"
    return f"known are {', '.join(known)}"


def refuse_unknown(document: Mapping[str, Any], *, known: Sequence[str], file: str) -> None:
    """Raise for every key at the top of a file that is not among the known ones."""
    sentences = [f"{file}: {dotted(key)} {_unknown(key, known)}" for key in document if key not in known]
    if sentences:
        raise ConfigurationError("\n".join(sentences))


def read_document(path: Path, *, variable: str) -> dict[str, Any]:
    """The mapping that the file holds, its keys as they are written; `variable` is the setting that names the file."""
    text = _text(path, variable)
    document = _json(text, path.name) if path.suffix.lower() == ".json" else _yaml(text, path.name)
    # A file that is being written at this moment can be seen empty: that must not read as "no tenants".
    if document is None:
        raise ConfigurationError(f"{path.name} is empty; let {variable} name a file with settings, or unset it")
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path.name} must be a mapping of names to values at its top level")
    return document


def _text(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or "it is not a file"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    raise ConfigurationError(f"{variable} names {path}, which cannot be read: {reason}")


class _TextKeys(yaml.SafeLoader):
    """YAML whose keys stay as they are written (`007`, `no`), and where no key is there twice."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node] | None) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
            key.tag = key.tag if key.tag == _MERGE else _TEXT
        return node


def _yaml(text: str, file: str) -> object:
    try:
        return yaml.load(text, Loader=_TextKeys)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        # The text of the error itself shows lines of the file.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        sentence = f"{file}{line}: this is not YAML that can be read: {error.problem}"
    except (yaml.YAMLError, ValueError):
        sentence = f"{file}: this is not YAML that can be read: it holds a character or a date that cannot be"
    except RecursionError:
        sentence = f"{file}: this is not YAML that can be read: {_TOO_DEEP}"
    raise ConfigurationError(sentence)


def _json(text: str, file: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats) if text.strip() else None
    except json.JSONDecodeError as error:
        sentence = f"{file}, line {error.lineno}: this is not JSON that can be read: {error.msg}"
    except KeyError as error:
        sentence = f"{file}: this is not JSON that can be read: {error.args[0]!r} is there twice in one mapping"
    except RecursionError:
        sentence = f"{file}: this is not JSON that can be read: {_TOO_DEEP}"
    raise ConfigurationError(sentence)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise KeyError(key)
        seen[key] = value
    return seen


def _sentence(kind: type[Section], problem: ErrorDetails, *, file: str, path: Sequence[str]) -> str:
    where = f"{file}: {dotted(*path, *problem['loc'])}" if (*path, *problem["loc"]) else file
    match problem["type"]:
        case "extra_forbidden":
            return f"{where} {_belongs(kind, (*path[-1:], *problem['loc']), depth=len(problem['loc']))}"
        case "missing":
            return f"{where} is missing"
        case "value_error":
            said = str(problem["ctx"]["error"])
            return f"{where} {said}, not {_shown(problem['input'])}" if said.startswith("must ") else f"{where} {said}"
        case _:
            return f"{where} must be a mapping of names to values, not {_kind_of(problem['input'])}"


def _belongs(kind: type[Section], names: Sequence[str | int], *, depth: int) -> str:
    """The end of the sentence about the unknown key `names[-1]`; its last `depth` names lie inside `kind`."""
    section = _section_at(kind, names[len(names) - depth : -1])
    key, parent = str(names[-1]), names[-2] if len(names) > 1 else ""
    if key in section.elsewhere:
        return section.elsewhere[key].format(parent=parent)
    return _unknown(key, sorted(section.model_fields))


def _unknown(key: str, known: Sequence[str]) -> str:
    return f"is not a known setting; {hint(key, known)}"


def _section_at(kind: type[Section], path: Sequence[str | int]) -> type[Section]:
    found: Any = kind
    for part in path:
        is_section = isinstance(found, type) and issubclass(found, Section)
        # Sections nest directly or as the values of a mapping by name.
        found = found.model_fields[str(part)].annotation if is_section else get_args(found)[-1]
    section: type[Section] = found
    return section


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case []:
            return "an empty list"
        case list():
            return "a list"
        case _:
            return "a single value"


def _shown(value: object) -> str:
    if value is None or isinstance(value, dict | list):
        return _kind_of(value)
    text = repr(value) if isinstance(value, str | int | float) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
