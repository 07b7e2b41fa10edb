"""The paths of a model's fields as a run takes them: read when it begins, and watched until it ends.

Here belongs what a run must know of the files. How they are read belongs to `scanning.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backfill_assets.core.metadata import MetadataField
from backfill_assets.errors import ConfigurationError, PermanentError
from backfill_assets.process_metadata.scanning import model_file, read_model
from backfill_assets.settings import Settings


def process_models(settings: Settings) -> Path:
    """The folder of process models; `settings` require it where the domain is on."""
    if settings.process_models is None:
        raise ConfigurationError("SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR is not set; it names the process models")
    return settings.process_models


@dataclass(kw_only=True)
class ModelReader:
    """Reads the paths of one model, and notices when they change."""

    root: Path
    model: str
    _seen: object = field(default=None, init=False)
    _paths: Mapping[str, str] = field(default_factory=dict, init=False)

    def fields(self, keys: Sequence[str]) -> tuple[Sequence[MetadataField], Mapping[MetadataField, str]]:
        """The fields of these keys, and those that cannot be filled with the reason."""
        self._seen = self._stamp()
        found = read_model(self.root, self.model)
        if found.problem:
            reason = f"the process model cannot be read: {found.problem}"
            return (), {MetadataField(model=self.model, key=key, path=""): reason for key in keys}
        self._paths = {key: found.paths[key] for key in keys if key in found.paths}
        known = ", ".join(sorted(found.paths)) or "none"
        reason = f"{model_file(self.root, self.model)} has no such key; it has {known}"
        unknown = [key for key in keys if key not in found.paths]
        fields = [MetadataField(model=self.model, key=key, path=path) for key, path in self._paths.items()]
        return fields, {MetadataField(model=self.model, key=key, path=""): reason for key in unknown}

    def require_unchanged(self) -> None:
        """Raise `PermanentError` where a path is another by now.

        The backfill of the new path rewrites what was there when it was launched: what we still wrote would stay.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return
        found = read_model(self.root, self.model)
        if not found.problem and any(found.paths.get(key, path) != path for key, path in self._paths.items()):
            raise PermanentError(
                f"a path in {model_file(self.root, self.model)} was changed meanwhile; the backfill of the new path "
                "fills these, or run them again"
            )
        self._seen = stamp

    def _stamp(self) -> object:
        try:
            found = model_file(self.root, self.model).stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
