"""Check that all imports can be found, and that no file hides a library of its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from marsmith.archive.requirements import declared, normal_name
from marsmith.building.preflight_imports import relative_problem
from marsmith.check.modules import Module, is_own
from marsmith.check.subject import Subject
from marsmith.core.extras import extra_of, install_hint
from marsmith.core.findings import Finding, Severity
from marsmith.core.installed import is_installed
from marsmith.project.distributions import (
    distributions_of,
    how_to_provide,
    is_distribution,
)
from marsmith.project.find_modules import is_standard
from marsmith.project.hidden_modules import hidden_by
from marsmith.project.python_imports import Import

# What TorchServe's vision handlers import without declaring it (ts/torch_handler).
_CAPTUM = ("image_classifier", "image_segmenter", "object_detector", "vision_handler")


def check_names(subject: Subject) -> Iterator[Finding]:
    """Yield files that hide other modules: the archive's folder is first on sys.path."""
    names = subject.archive.names
    found = (hidden_by(name, subject.place(name)) for name in sorted(names))
    yield from filter(None, found)
    for name in sorted(name for name in names if name.endswith(".py") and "/" not in name):
        module = name.removesuffix(".py")
        if f"{module}/__init__.py" in names:
            message = f"{name} is never imported: the folder {module!r} comes first"
            yield subject.finding(message, "rename one of them", name, 1, rule="shadows-file")


def check_imports(subject: Subject, modules: list[Module]) -> Iterator[Finding]:
    """Yield imports that are neither standard library, nor the archive's own, nor installed."""
    given = _declared(subject)
    # Which modules these contain is unknown.
    unknown = {name for name in given if not is_distribution(name)}
    yield from _check_captum(subject, modules, given)
    seen: set[str] = set()
    for module in modules:
        for one in module.imports:
            if one.outside and not one.guarded:
                message, hint = relative_problem(one)
                yield subject.presume(message, hint, module.entry, one.line, rule="relative-import")
            top = one.module.partition(".")[0]
            if (
                one.outside
                or one.optional
                or top in seen
                or is_standard(top)
                or is_own(subject, top)
            ):
                continue
            seen.add(top)
            if is_installed(top):
                continue
            if given & {normal_name(name) for name in (top, *distributions_of(top))} or unknown:
                yield _not_installed(subject, module, one)
            else:
                message = (
                    f"imports {top}, which is neither in the archive nor installed nor declared"
                )
                hint = how_to_provide(top, subject.project.root if subject.project else None)
                found = subject.presume(
                    message, hint, module.entry, one.line, rule="missing-import"
                )
                yield replace(found, about=top)


def _declared(subject: Subject) -> set[str]:
    """Return the distributions that an archive requires."""
    file = subject.manifest.requirements_file
    return declared(subject.archive.read(file).decode(errors="replace")) if file else set()


def _not_installed(subject: Subject, module: Module, one: Import) -> Finding:
    file = subject.manifest.requirements_file
    message = f"imports {one.module}, and what {file} declares is not installed here"
    place = subject.place(file) if file else "it"
    hint = f"install what {place} declares, to try the archive here"
    found = subject.presume(message, hint, module.entry, one.line, rule="not-installed")
    return replace(found, severity=Severity.WARNING, about=one.module.partition(".")[0])


def _check_captum(subject: Subject, modules: list[Module], given: set[str]) -> Iterator[Finding]:
    if is_installed("captum") or "captum" in given:
        return
    extra = extra_of("captum")
    install = install_hint(extra) if extra else "pip install captum"
    hint = f"{install}, or declare captum in requirements_file"
    message = "TorchServe's vision handlers import captum, which torchserve does not install"
    if subject.default_handler in _CAPTUM:
        yield replace(subject.presume(message, hint, rule="missing-import"), about="captum")
        return
    for module in modules:
        for one in module.imports:
            if one.module.removeprefix("ts.torch_handler.") in _CAPTUM and "ts." in one.module:
                found = subject.presume(
                    message, hint, module.entry, one.line, rule="missing-import"
                )
                yield replace(found, about="captum")
                return
