import subprocess
from pathlib import Path

from reconciler.model.host import Host
from reconciler.observed import probe
from reconciler.observed.doctor import Level, diagnose_all
from reconciler.observed.evidence import Folder
from reconciler.observed.probe import parse_probe

OUTPUT = """\
Welcome to h1! Mind the cat = dog.
date=1700000010
user=admin
python=Python 3.11.2
folder=711 0 64055 /srv/my images
folder=755 0 0 /
folder=garbage
"""


def test_lines_are_read_and_folders_run_downwards():
    shell = parse_probe(OUTPUT, 1700000010.0, 1700000010.5)
    assert shell.values["user"] == "admin"
    assert shell.folders == (Folder("/", 0o755, 0, 0), Folder("/srv/my images", 0o711, 0, 64055))
    assert shell.clock_skew == 0


def test_the_time_that_the_call_took_is_no_skew():
    assert parse_probe("date=1005", 1000.0, 1010.0).clock_skew == 0
    assert parse_probe("date=1013", 1000.0, 1010.0).clock_skew == 3
    assert parse_probe("date=995", 1000.0, 1010.0).clock_skew == -4
    assert parse_probe("date=999", 999.9, 1000.0).clock_skew == 0


def test_the_script_on_this_machine(tmp_path):
    script = Path(probe.__file__).with_name("probe.sh")
    pool = tmp_path / "a pool"
    pool.mkdir(mode=0o751)
    done = subprocess.run(
        ["sh", "-s", "--", str(pool)], input=script.read_text(), capture_output=True, text=True, check=True
    )
    shell = parse_probe(done.stdout, 0, 0)
    assert {"date", "user", "python", "kvm", "cpu_flags", "nested"} <= shell.values.keys()
    assert shell.folders[0].path == "/"
    assert (shell.folders[-1].path, shell.folders[-1].mode) == (str(pool), 0o751)
    assert done.stderr == ""


def test_hosts_are_diagnosed_in_order_whatever_befalls_one():
    hosts = [
        Host("fine", "test:///default", pool="default-pool"),
        Host("gone", "qemu+tcp://127.0.0.1:1/system"),
    ]
    report = {host.name: findings for host, findings in diagnose_all(hosts)}
    assert list(report) == ["fine", "gone"]
    assert all(finding.level is Level.OK for finding in report["fine"])
    assert [finding.check for finding in report["gone"] if finding.level is Level.FAIL] == ["port"]


def test_what_ssh_says_is_a_finding(tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text(
        '#!/bin/sh\n[ "$1" = -G ] && { echo "hostname elsewhere"; exit; }\n'
        'head -c1 >/dev/null\necho "Host key verification failed." >&2\nexit 255\n'
    )
    ssh.chmod(0o755)
    ((_, findings),) = diagnose_all([Host("h", f"qemu+ssh://h.invalid/system?command={ssh}")])
    failed = {finding.check: finding for finding in findings if finding.level is Level.FAIL}
    assert failed.keys() == {"ssh"}
    assert "not known here" in failed["ssh"].message
    assert "accept the key" in failed["ssh"].remedy
