"""Test how verification runs its tasks on this machine."""

import threading

from transforms.verification import tasks
from transforms.verification.tasks import LocalTasks, Task, TaskSettings

SETTINGS = TaskSettings(
    directory="", work="", splits=(), other_files=(), group_folders=()
)


def test_closing_does_not_wait_for_queued_tasks(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(tasks, "run_task", lambda *_: release.wait(20))
    local = LocalTasks(SETTINGS, num_threads=1, num_images=1)
    for number in range(3):
        local.submit(Task(number, ()))
    threading.Timer(0.2, release.set).start()
    closing = threading.Thread(target=local.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    assert [future.cancelled() for future in local._futures[1:]] == [True, True]
