"""What check finds of archives without samples, by asking them made-up requests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marsmith.building.building import build
from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.findings import Finding, Severity
from tests.projects import minimal_spec
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
# Neither torch nor TorchServe, so that a worker starts at once. Line 13 is the first of `answer`.
HANDLER = """\
import io
import json


class Handler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.answer(row, context, index) for index, row in enumerate(data)]

    def answer(self, row, context, index):
"""
OPENED = """\
        from PIL import Image
        image = Image.open(io.BytesIO(row["body"]))
        image.load()
"""


def found(project: MakeProject, body: str, handler: str = HANDLER) -> list[Finding]:
    """Check the archive of a handler alone, as one from others: it has no sample to ask for."""
    root = project({"handler.py": handler + body}, minimal_spec("")).root
    return findings(root)


def findings(root: Path, timeout: float = 60) -> list[Finding]:
    from marsmith.project.project import Project

    (built,) = build(Project(root), ("tiny",))
    return list(check(Target("tiny", built.path), timeout=timeout).findings)


def told(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.rule, one.severity.value) for one in found]


@pytest.mark.parametrize(
    "body",
    [
        OPENED + '        return {"size": list(image.size)}\n',
        '        return bytes(row["body"]).decode().upper()\n',
        '        from PIL import Image\n        return Image.open(io.BytesIO(row["data"])).mode\n',
        "        from PIL import Image\n"
        '        opened = [Image.open(io.BytesIO(row[name])) for name in ("image", "mask")]\n'
        '        return [row["image"] == row["mask"], opened[0].mode]\n',
        "        import base64\n        from PIL import Image\n"
        '        body = base64.b64decode(row["body"]["photo"])\n'
        "        return Image.open(io.BytesIO(body)).mode\n",
        '        return sum(row["body"]["data"])\n',
        '        return sum(json.loads(row["body"])["values"])\n',
        '        return {"length": len(row["body"]["text"])}\n',
    ],
    ids=["pictures", "text", "form field", "two fields", "base64", "JSON", "raw JSON", "JSON text"],
)
def test_an_archive_that_answers_one_kind_of_request_is_not_complained_of(
    project: MakeProject, body: str
) -> None:
    assert [one for one in found(project, body) if one.rule != "bad-request"] == []


def test_an_exception_for_every_request_is_an_error_in_the_users_file(project: MakeProject) -> None:
    (one,) = found(project, OPENED + "        return image.size.undefined\n")
    assert (one.rule, one.severity) == ("no-answer", Severity.ERROR)
    assert (one.file, one.line) == ("tiny.mar/handler.py", 16)
    assert "AttributeError" in one.message
    assert "/models/" not in one.message + one.hint


def test_the_place_is_the_projects_own_file(project: MakeProject) -> None:
    files = {"handlers/mine.py": HANDLER + '        raise KeyError("weights")\n'}
    made = project(files, minimal_spec("", "handlers/mine.py"))
    (built,) = build(made, ("tiny",))
    target = Target("tiny", built.path, made, made.archives["tiny"])
    (one,) = check(target, timeout=60).findings
    assert (one.rule, one.file, one.line) == ("no-answer", "handlers/mine.py", 13)


def test_a_broken_picture_handler_that_refuses_other_requests_well_is_an_error(
    project: MakeProject,
) -> None:
    body = (
        "        from PIL import Image\n"
        "        try:\n"
        '            image = Image.open(io.BytesIO(row["body"]))\n'
        "        except Exception:\n"
        '            context.set_response_status(400, "Bad Request", index)\n'
        '            return "no picture"\n'
        "        return [][image.width]\n"
    )
    (one,) = found(project, body)
    assert (one.rule, one.line) == ("no-answer", 19)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("os._exit(0)", "SystemExit: 0"),
        ("os.abort()", "SIGABRT"),
        ("ctypes.string_at(8)", "SIGSEGV"),
        ("time.sleep(99)", "within 3 s"),
        ("any(iter(int, 1))", "within 3 s"),
    ],
)
def test_a_call_that_ends_or_blocks_the_worker_has_its_place(
    project: MakeProject, ends: str, said: str
) -> None:
    """Another exception, in the request before, is not the reason."""
    earlier = '        if row["body"][:1] == b"\\x89":\n            raise LookupError("no PNG")\n'
    calls = f"        import ctypes, os, sys, time\n        {ends}\n        return 1\n"
    root = project({"handler.py": HANDLER + earlier + calls}, minimal_spec("")).root
    (one,) = findings(root, timeout=3)
    assert (one.rule, one.file, one.line) == ("no-answer", "tiny.mar/handler.py", 16)
    assert said in one.message


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of exceptions")
def test_a_group_of_exceptions_is_named_with_those_in_it(project: MakeProject) -> None:
    raised = "raise ExceptionGroup('two', [KeyError('a'), OSError('b')])"
    (one,) = found(project, f"        {raised}\n")
    assert (one.rule, one.line) == ("no-answer", 13)
    assert "KeyError: 'a'\nOSError: b" in one.message


def test_a_status_of_the_handlers_own_is_not_said_to_be_the_end_of_its_worker(
    project: MakeProject,
) -> None:
    body = (
        '        context.set_response_status(500, "Internal", index)\n'
        '        return "the lamp is off"\n'
    )
    (one,) = found(project, body)
    assert (one.rule, one.line) == ("no-answer", 9)
    assert "500: the lamp is off" in one.message


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        ('image.format != "JPEG"', 7),
        ('image.mode == "P"', 1),
        ('image.mode not in ("RGB", "L")', 5),
        ("image.width < 32", 1),
    ],
)
def test_an_exception_for_some_kinds_is_one_warning(
    project: MakeProject, condition: str, kinds: int
) -> None:
    body = OPENED + f'        if {condition}:\n            raise OSError("not this one")\n'
    found_ones = found(project, body + "        return image.mode\n")
    (one,) = (one for one in found_ones if one.rule != "bad-request")
    assert (one.rule, one.severity, one.line) == ("request-fails", Severity.WARNING, 17)
    assert one.message.count(" PNG") + one.message.count(" JPEG") == kinds


def test_a_refusal_of_some_kinds_is_one_warning(project: MakeProject) -> None:
    body = (
        OPENED + '        if image.mode != "RGB":\n'
        '            context.set_response_status(415, "Unsupported", index)\n'
        '            return "send RGB"\n'
        "        return image.mode\n"
    )
    found_ones = found(project, body)
    (one,) = (one for one in found_ones if one.rule != "bad-request")
    assert (one.rule, one.severity) == ("request-refused", Severity.WARNING)
    assert "415: send RGB" in one.message


def test_a_refusal_of_everything_is_a_warning_with_its_reason(project: MakeProject) -> None:
    body = (
        '        context.set_response_status(422, "Unprocessable", index)\n'
        '        return "a sound file is needed"\n'
    )
    (one,) = found(project, body)
    assert (one.rule, one.severity) == ("no-sample", Severity.WARNING)
    assert "422: a sound file is needed" in one.message


def found_for(project: MakeProject, returned: str) -> Finding:
    """Return the one finding of a handler that returns this, whatever it is asked."""
    handler = HANDLER.replace(
        "[self.answer(row, context, index) for index, row in enumerate(data)]", returned
    )
    (one,) = found(project, "        pass\n", handler)
    return one


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("tuple(data)", "type tuple"),
        ("(row for row in data)", "type generator"),
        ("None", "None"),
        ("'one text'", "type str"),
        ("{'answers': 1}", "type dict"),
        ("[{'pictures': [1, b'x']}] * len(data)", "bytes at [0]['pictures'][1]"),
        ("[{1, 2}] * len(data)", "type set at [0]"),
        ("[[{(1, 2): 3}]] * len(data)", "key of type tuple at [0][0]"),
        ("[object()] * len(data)", "type object at [0]"),
        ("range(len(data))", "type range"),
        ("len(data)", "type int"),
        ("b'one answer'", "type bytes"),
        ("__import__('collections').deque(data)", "type collections.deque"),
        ("[[1, [2j]]] * len(data)", "type complex at [0][1][0]"),
        ("[{'at': memoryview(b'x')}] * len(data)", "type memoryview at [0]['at']"),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_type_and_place(
    project: MakeProject, returned: str, said: str
) -> None:
    one = found_for(project, returned)
    assert (one.rule, one.severity) == ("answer-type", Severity.ERROR)
    assert said in one.message
    assert (one.file, one.line) == ("tiny.mar/handler.py", 9)


@pytest.mark.parametrize(
    ("returned", "said"), [("[1, 2, 3]", "3 answers for 1 request"), ("[]", "0 answers for 1")]
)
def test_another_number_of_answers_is_counted(
    project: MakeProject, returned: str, said: str
) -> None:
    one = found_for(project, returned)
    assert (one.rule, one.severity) == ("answer-count", Severity.ERROR)
    assert said in one.message


@pytest.mark.parametrize(
    ("spoil", "rule", "said"),
    [
        ("raise RuntimeError('one at a time')", "batch-size", "handler.py:9"),
        ("return [1]", "answer-count", "1 answer for 4 requests"),
        ("return [{1}] * len(data)", "answer-type", "type set at [0]"),
    ],
)
def test_what_fails_for_a_batch_alone_is_said_to(
    project: MakeProject, spoil: str, rule: str, said: str
) -> None:
    handler = (
        "import io\nfrom PIL import Image\n\n\nclass Handler:\n"
        "    def initialize(self, context):\n        pass\n\n"
        f"    def handle(self, data, context):\n        if len(data) > 1: {spoil}\n"
        "        return [Image.open(io.BytesIO(row['body'])).mode for row in data]\n"
    ).replace("        if len(data) > 1: ", "        if len(data) > 1: ")
    spec = minimal_spec("serving = { batchSize = 4 }\n")
    root = project({"handler.py": handler.replace("\n\n\nclass", "\n\nclass")}, spec).root
    (one,) = (one for one in findings(root) if one.rule != "bad-request")
    assert (one.rule, one.severity) == (rule, Severity.ERROR)
    assert said in one.message


@pytest.mark.parametrize("name", ["preprocess", "inference", "postprocess"])
def test_an_attribute_that_hides_a_method_is_the_cause(project: MakeProject, name: str) -> None:
    steps = "".join(
        f"    def {step}(self, data):\n        return data\n\n"
        for step in ("preprocess", "inference", "postprocess")
    )
    handler = (
        f"class Handler:\n    def initialize(self, context):\n        self.{name} = {{}}\n\n{steps}"
        "    def handle(self, data, context):\n"
        "        made = self.postprocess(self.inference(self.preprocess(data)))\n"
        "        return [len(row) for row in made]\n"
    )
    (one,) = found(project, "", handler)
    assert (one.rule, one.severity) == ("hides-method", Severity.ERROR)
    assert (one.file, one.line) == ("tiny.mar/handler.py", 3)
    assert "TypeError: 'dict' object is not callable" in one.message


def test_a_wrapped_method_hides_none(project: MakeProject) -> None:
    body = "        return len(row)\n"
    handler = HANDLER.replace(
        "        pass\n", "        self.answer = self.timed(self.answer)\n", 1
    ).replace("    def handle", "    def timed(self, call):\n        return call\n\n    def handle")
    assert found(project, body, handler) == []


@pytest.mark.parametrize(
    "read",
    [
        "self.model = context.system_properties['model'].eval()",
        "properties = context.system_properties; properties.get('device').type",
    ],
)
def test_a_key_that_no_context_has_is_the_cause_of_a_failed_load(
    project: MakeProject, read: str
) -> None:
    (one,) = found(project, "        return 1\n", HANDLER.replace("pass", read, 1))
    assert (one.rule, one.line) == ("context-key", 7)
    assert "Error" in one.message


def test_a_key_that_no_context_has_does_not_matter_where_it_is_not_needed(
    project: MakeProject,
) -> None:
    read = "self.model = context.system_properties.get('model') or 'my own'"
    assert found(project, "        return 1\n", HANDLER.replace("pass", read, 1)) == []
