import json

from click.testing import CliRunner

from reconciler.cli.doctor import doctor

INVENTORY = """
all:
  hosts:
    fine: {reconciler_uri: "test:///default", reconciler_pool: default-pool}
    gone: {reconciler_uri: "qemu+tcp://127.0.0.1:1/system"}
"""


def test_the_command(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY)
    runner = CliRunner()
    arguments = ["-i", str(inventory), "--state-dir", str(tmp_path / "state")]

    every = runner.invoke(doctor, ["-o", "json", *arguments])
    assert every.exit_code == 1
    report = json.loads(every.output)["hosts"]
    assert {finding["level"] for finding in report["fine"]} == {"ok"}
    assert [finding["check"] for finding in report["gone"]] == ["name", "port"]
    assert set(report["gone"][1]) == {"check", "level", "message", "remedy"}

    one = runner.invoke(doctor, ["fine", *arguments])
    assert one.exit_code == 0
    assert "✓ libvirt" in one.output
    assert "gone" not in one.output

    wrong = runner.invoke(doctor, ["fin", *arguments])
    assert "did you mean 'fine'?" in str(wrong.exception)
