"""Records, entries and files of logs, on TorchServe 0.12.0's lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.torchserve.log_entries import Entries, Entry
from marsmith.torchserve.log_files import LogReader, log_files
from marsmith.torchserve.log_records import as_text, parse_line

UNPACKED = "/tmp/marsmith-q9ewh4j6/models/0f3a61c2b7d84e5f9a0b1c2d3e4f5a6b"  # noqa: S108
INSTALLED = "/home/ann/.venv/lib/python3.11/site-packages"
STARTED = """\
2026-11-21T13:44:10,719 pool-3-thread-1 WARN MetricCollector worker pid is not available yet.
"""
WORKERS = f"""\
2026-11-21T13:44:12,372 W-9000-my_model_1.0-stdout Successfully loaded /x/marsmith/metrics.yaml.
2026-11-21T13:44:12,372 W-9000-my_model_1.0-stdout [PID]10036
2026-11-21T13:44:12,492 W-9000-my_model_1.0-stdout Grüße
2026-11-21T13:44:12,497 W-9000-my_model_1.0-stdout again
2026-11-21T13:44:12,497 W-9001-other_2-stdout of another
2026-11-21T13:44:12,498 W-9000-my_model_1.0-stdout Traceback (most recent call last):
2026-11-21T13:44:12,498 W-9000-my_model_1.0-stdout   File "{UNPACKED}/inner/echo.py", line 17, in handle
2026-11-21T13:44:12,498 W-9000-my_model_1.0-stdout     {{}}["ключ"]
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout KeyError: 'ключ'
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout 
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout The above exception was the direct cause of the following exception:
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout 
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout Traceback (most recent call last):
2026-11-21T13:44:12,499 W-9001-other_2-stdout in between
2026-11-21T13:44:12,499 W-9000-my_model_1.0-stdout   File "{INSTALLED}/ts/service.py", line 135, in predict
2026-11-21T13:44:12,500 W-9000-my_model_1.0-stdout RuntimeError: two
2026-11-21T13:44:12,500 W-9000-my_model_1.0-stdout   lines
2026-11-21T13:44:12,501 W-9000-my_model_1.0-stdout after it
2026-11-21T13:44:19,900 W-9000-my_model_1.0-stdout Traceback (most recent call last):
2026-11-21T13:44:19,900 W-9000-my_model_1.0-stdout   File "{UNPACKED}/echo.py", line 3, in handle
2026-11-21T13:44:19,900 W-9000-my_model_1.0-stdout ValueError
"""  # noqa: E501, W291
JAVA = """\
2026-11-21T13:50:00,001 W-9000-digits_1.0 ERROR WorkerThread Backend worker error
org.pytorch.serve.wlm.WorkerInitializationException: Backend stream closed.
\tat org.pytorch.serve.wlm.WorkerLifeCycle.startWorker(WorkerLifeCycle.java:200)
2026-11-21T13:50:01,000 main WARN ModelManager digits is gone
"""


def name(archive: str, entry: str) -> str:
    return f"handlers/{archive}/{entry}"


def read(log: str) -> list[Entry]:
    entries = Entries()
    return [*entries.add(log.splitlines()), *entries.rest()]


def texts(log: str) -> list[str]:
    return [entry.text(name) for entry in read(log)]


def test_a_traceback_with_its_chain_is_one_entry_and_workers_are_kept_apart() -> None:
    traceback = """\
again
Traceback (most recent call last):
  File "handlers/my_model/inner/echo.py", line 17, in handle
    {}["ключ"]
KeyError: 'ключ'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "ts/service.py", line 135, in predict
RuntimeError: two
  lines"""
    last = """\
Traceback (most recent call last):
  File "handlers/my_model/echo.py", line 3, in handle
ValueError"""
    expected = ["Grüße", "of another", traceback, "after it", "in between", last]
    assert texts(WORKERS) == expected


def test_what_an_entry_is_of() -> None:
    first = read(WORKERS)[0].values(name)
    assert first == {
        "time": "2026-11-21T13:44:12.492",
        "source": "worker",
        "level": None,
        "model": "my_model",
        "version": "1.0",
        "worker": "9000",
        "message": "Grüße",
    }
    (started,) = read(STARTED)
    assert started.values(name)["source"] == "server"
    assert started.values(name)["level"] == "WARN"


def test_javas_exceptions_belong_to_what_they_stand_below() -> None:
    first, second = read(JAVA)
    assert first.text(name).splitlines()[1].endswith("Backend stream closed.")
    assert len(first.lines) == 3
    assert first.concerns("digits")
    assert second.concerns("digits")
    assert not second.concerns("digit")
    assert not read(STARTED)[0].concerns("digits")


def test_json_and_text_are_the_same_log() -> None:
    json_log = """\
{"time":"2026-11-21T13:50:00.001Z","level":"ERROR","thread":"W-9000-digits_1.0","logger":"WorkerThread","message":"Backend \\"worker\\" error","exception":"java.io.IOException: closed\\n"}
{"time":"2026-11-21T13:50:00.002+01:00","level":"INFO","thread":"W-9000-digits_1.0-stdout","logger":"MODEL_LOG","message":"größe","exception":""}
"""  # noqa: E501
    text = """\
2026-11-21T13:50:00,001 W-9000-digits_1.0 ERROR WorkerThread Backend "worker" error
java.io.IOException: closed
2026-11-21T13:50:00,002 W-9000-digits_1.0-stdout größe
"""
    assert as_text(json_log) == text
    assert as_text(text) == text
    assert texts(json_log) == texts(text)


@pytest.mark.parametrize("line", ["", "no time", '{"a": 1}', '{"time":', "{", "[1]", "2026-11-21"])
def test_a_line_that_is_none_of_both_is_no_record(line: str) -> None:
    assert parse_line(line) is None


def test_lines_come_once_each_however_the_files_are_renamed(tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    (tmp_path / "workers.1.log").write_text("a\n")
    (tmp_path / "workers.2.log").write_text("b\n")
    log.write_text("c\nd")
    reader = LogReader(log)
    assert reader.read() == ["a", "b", "c"]
    with log.open("a") as file:
        file.write("one\ne\n")
    # log4j with its three files full: the oldest goes, each takes the place before it.
    log.rename(tmp_path / "workers.3.log")
    assert reader.read() == ["done", "e"]
    for number in (1, 2):
        (tmp_path / f"workers.{number + 1}.log").replace(tmp_path / f"workers.{number}.log")
    (tmp_path / "workers.3.log").write_text("f\n")
    log.write_text("g\n")
    assert reader.read() == ["f", "g"]
    assert reader.read() == []
    log.write_text("")  # the server was started anew
    assert reader.read() == []
    log.write_text("h\n")
    assert reader.read() == ["h"]
    reader.close()


def test_the_latest_of_the_files_that_were_cut_off_has_the_highest_number(tmp_path: Path) -> None:
    for number in ("2", "10", "x"):
        (tmp_path / f"server.{number}.log").touch()
    names = [path.name for path in log_files(tmp_path / "server.log")]
    assert names == ["server.2.log", "server.10.log", "server.log"]


DUMP = """\
2026-11-21 13:50:00
Full thread dump OpenJDK 64-Bit Server VM (21.0.8+9-LTS mixed mode):

"main" #1 [77] prio=5 os_prio=0 cpu=1.00ms elapsed=9.00s tid=0x1 nid=77 waiting on condition
   java.lang.Thread.State: WAITING (parking)

JNI global refs: 35, weak refs: 0

Heap
 def new generation   total 116224K, used 8916K [0x1, 0x2, 0x3)
  class space    used 3767K, committed 3968K, reserved 1048576K

"""


def test_what_java_prints_of_its_threads_is_no_entry() -> None:
    assert texts(
        f"{DUMP}Model server started.\n{DUMP}{DUMP}2026-11-21T13:50:00,001 main WARN X y"
    ) == [
        "Model server started.",
        "y",
    ]


def test_versions_may_hold_underscores() -> None:
    (entry,) = read("2026-11-21T13:44:12,492 W-9000-echo_5_0-stdout hello\n")
    assert entry.concerns("echo")
    assert entry.concerns("echo", ["ech", "echo_6"])
    assert not entry.concerns("echo", ["echo_5"])
    assert not entry.concerns("other")


def test_an_exception_below_a_line_that_says_nothing_is_an_entry_of_that_line() -> None:
    first, second = read(
        "2026-11-21T19:34:45,100 main WARN org.x.A worker pid is not available yet\n"
        "2026-11-21T19:35:50,418 epollEventLoopGroup-3-1 ERROR org.x.HttpRequestHandler \n"
        "java.util.ConcurrentModificationException: null\n"
        "\tat java.util.HashMap.next(HashMap.java:1)\n"
    )
    assert first.text(name) == "worker pid is not available yet"
    assert second.time == "2026-11-21T19:35:50.418"
    assert second.record.level == "ERROR"
    assert second.text(name).splitlines()[0] == "java.util.ConcurrentModificationException: null"
