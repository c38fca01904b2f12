"""Which versions of which models are served; no IO."""

from __future__ import annotations

from marsmith.gateway.local.version import ServedVersion
from marsmith.gateway.refusals import (
    already_registered,
    default_version,
    model_unknown,
    version_unknown,
)


class Models:
    """The served versions by model, each model with a default one."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, ServedVersion]] = {}
        self._defaults: dict[str, str] = {}

    def find(self, model: str, version: str | None = None) -> ServedVersion:
        """Return a version, by default the default one. Raises GatewayError."""
        versions = self._versions.get(model)
        if versions is None:
            raise model_unknown(model)
        found = versions.get(version or self._defaults[model])
        if found is None:
            raise version_unknown(model, version or "")
        return found

    def require_new(self, model: str, version: str) -> None:
        """Raise GatewayError if a version is served."""
        if version in self._versions.get(model, ()):
            raise already_registered(model, version)

    def add(self, served: ServedVersion, *, default: bool = False) -> None:
        """Serve a version; the first one of a model is its default version."""
        self._versions.setdefault(served.name, {})[served.version] = served
        if default or served.name not in self._defaults:
            self._defaults[served.name] = served.version

    def remove(self, served: ServedVersion) -> None:
        """Serve a version no more. Raises GatewayError for a default version beside others."""
        versions = self._versions[served.name]
        if self.is_default(served) and len(versions) > 1:
            raise default_version(served.name, served.version)
        del versions[served.version]
        if not versions:
            del self._versions[served.name], self._defaults[served.name]

    def set_default(self, served: ServedVersion) -> None:
        """Let a version answer the requests that name none."""
        self._defaults[served.name] = served.version

    def is_default(self, served: ServedVersion) -> bool:
        """Whether it answers the requests that name no version."""
        return self._defaults.get(served.name) == served.version

    def all(self) -> list[ServedVersion]:
        """Return all versions, by name and version."""
        found = (one for versions in self._versions.values() for one in versions.values())
        return sorted(found, key=lambda one: (one.name, one.version))
