"""Whether a worker has a request in its hands, read from what Java prints of its threads."""

from __future__ import annotations

from marsmith.deploy.draining import busy_workers

THREAD = """\
"W-{id}-echo_1.0{more}" #23 [6877] prio=5 os_prio=0 cpu=6.41ms elapsed=3.48s tid=0x00 nid=6877
   java.lang.Thread.State: TIMED_WAITING (parking)
	at jdk.internal.misc.Unsafe.park(java.base@21.0.8/Native Method)
	at {waits}
	at org.pytorch.serve.wlm.{thread}.run({thread}.java:195)
"""
QUEUE = "org.pytorch.serve.wlm.Model.pollBatch(Model.java:482)"
REPLY = "java.util.concurrent.ArrayBlockingQueue.poll(java.base@21.0.8/Unknown Source)"


def _thread(number: str, waits: str, more: str = "", thread: str = "WorkerThread") -> str:
    return THREAD.format(id=number, waits=waits, more=more, thread=thread)


def test_a_worker_is_at_rest_that_waits_for_its_queue() -> None:
    dump = "\n".join(
        [
            "2026-11-21 13:40:01\nFull thread dump OpenJDK 64-Bit Server VM:\n",
            _thread("9000", QUEUE),
            _thread("9001", REPLY),
            _thread("9002", REPLY),
            _thread(
                "9000", "java.io.FileInputStream.read(java.base)", more="-stdout", thread="Pool"
            ),
            _thread("9000", "java.util.concurrent.LinkedBlockingQueue.poll", thread="Pool"),
            "JNI global refs: 24, weak refs: 0\n",
        ]
    )
    assert busy_workers(dump, ["9000", "9001"]) == ["9001"]
    assert busy_workers(dump, ["9000"]) == []


def test_a_worker_that_takes_several_batches_at_once_is_never_known_to_be_at_rest() -> None:
    dump = _thread("9000", QUEUE, thread="AsyncWorkerThread")
    assert busy_workers(dump, ["9000"]) == ["9000"]
