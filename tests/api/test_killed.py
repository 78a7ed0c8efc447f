"""A server is killed -9 in the middle of a write, and the client says the same again to another one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.served import Served

VMS = "/api/v1/virtualmachines"
BODY = {"metadata": {"name": "x"}, "spec": {"instanceType": "small"}}
KEY = {"Idempotency-Key": "k1"}

# Dies by the real signal, right before or right after the method does its work.
DOOMED = """
import os, signal, sys
from pathlib import Path
from support.served import Served

folder, owner, name, when = sys.argv[1:]
served = Served(Path(folder), fresh=False)
target = type(getattr(served, owner))
work = getattr(target, name)

def doomed(*arguments, **options):
    if when == "after":
        work(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(target, name, doomed)
served.client.simulate_post("/api/v1/virtualmachines", json=%r, headers=%r)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        ("store", "begin_once", "before"),
        ("store", "begin_once", "after"),
        ("desired", "write", "before"),
        ("desired", "write", "after"),
        ("store", "finish_once", "before"),
        ("store", "finish_once", "after"),
    ],
)
def test_the_same_again_is_done_once_and_answered(tmp_path, owner, name, when):
    served = Served(tmp_path)
    here = Path(__file__).parents[1]
    died = subprocess.run(
        [sys.executable, "-c", DOOMED % (BODY, KEY), str(tmp_path), owner, name, when],
        cwd=here,
        env={"PYTHONPATH": f"{here}:{here.parent}", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    answer = served.client.simulate_post(VMS, json=BODY, headers=KEY)
    assert (answer.status_code, answer.json["metadata"]["name"]) == (201, "x")
    assert served.git("log", "--format=%s").splitlines().count("create VirtualMachine/x") == 1
    assert served.client.simulate_post(VMS, json=BODY, headers=KEY).headers["idempotency-replayed"] == "true"
    served.close()
