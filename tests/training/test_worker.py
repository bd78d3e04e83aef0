"""What the worker does apart from training."""

import signal
import subprocess
import sys

import pytest

from cell_train.training import worker
from tests.support.runs import wait_until


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says it")
def test_a_worker_rests_while_its_parent_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        monkeypatch.setattr("os.getppid", lambda: parent.pid)
        assert not worker._is_to_stop([])
        parent.send_signal(signal.SIGSTOP)
        wait_until(lambda: worker._is_stopped(parent.pid))

        def rest(seconds: float) -> None:
            rests.append(seconds)
            if len(rests) == 3:
                parent.send_signal(signal.SIGCONT)
                while worker._is_stopped(parent.pid):
                    pass

        monkeypatch.setattr("time.sleep", rest)
        assert not worker._is_to_stop([])
        assert rests == 3 * [worker.REST]
        parent.kill()
    assert worker._is_to_stop(["SIGTERM"])
