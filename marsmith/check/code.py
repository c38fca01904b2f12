"""Check an archive's Python files without importing them."""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.check.classes import check_handler, check_model
from marsmith.check.context_keys import check_context_keys
from marsmith.check.downloads import downloads
from marsmith.check.environment_reads import check_environment_reads
from marsmith.check.imports import check_imports, check_names
from marsmith.check.modules import Module, follow
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.project.python_outline import unused_functions


def check_code(subject: Subject) -> Iterator[Finding]:
    """Yield why the handler or the model could not be imported or instantiated."""
    try:
        yield from _check_code(subject)
    except RecursionError:
        return  # code that is nested so deeply is left to the worker


def _check_code(subject: Subject) -> Iterator[Finding]:
    handler, model = subject.handler_file, subject.manifest.model_file
    modules: dict[str, Module] = {}
    yield from follow(subject, filter(None, (handler, model)), modules)
    if handler in modules:
        yield from check_handler(subject, modules[handler])
        yield from check_context_keys(subject, modules[handler])
    if model in modules:
        yield from check_model(subject, modules[model])
    yield from check_environment_reads(subject, list(modules.values()))
    yield from check_names(subject)
    yield from check_imports(subject, list(modules.values()))
    yield from _check_downloads(subject, list(modules.values()))


def _check_downloads(subject: Subject, modules: list[Module]) -> Iterator[Finding]:
    """Yield the calls that may download; the watched worker sees whether they do."""
    called = (subject.entry_point,) if subject.entry_point else ()
    unused = unused_functions((module.tree for module in modules), called)
    own = {name.partition("/")[0].removesuffix(".py") for name in subject.python_files}
    for module in modules:
        for found in downloads(module.tree, unused, own):
            message = f"{found.call} downloads weights when it runs; a worker should not"
            yield subject.presume(message, found.remedy, module.entry, found.line, rule="download")
