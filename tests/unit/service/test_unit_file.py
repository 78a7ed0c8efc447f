"""The shipped systemd unit fits what the daemon does."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.service.api_metrics import ApiMetrics
from reconciler.service.metrics import Metrics
from reconciler.settings import data_dir

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "systemd.md"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    assert unit.read(data_dir("examples") / "systemd" / "reconciler.service")
    return unit["Service"]


def test_readiness_watchdog_and_stop(service: configparser.SectionProxy) -> None:
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["KillMode"] == "mixed", "SIGTERM must not reach Ansible's own processes"
    assert service["RestartPreventExitStatus"] == str(UsageError.exit_code)


def test_the_store_is_where_systemd_makes_the_folder(service: configparser.SectionProxy) -> None:
    assert service["StateDirectory"] == "reconciler"
    assert service["StateDirectoryMode"] == "0700"
    assert "RECONCILER_STATE_DIR=%S/reconciler" in service["Environment"].split()


def test_the_document_names_every_metric() -> None:
    documented = set(re.findall(r"^\| `(reconciler_\w+)`", DOCUMENT.read_text(), re.MULTILINE))
    registry = ApiMetrics(Metrics().registry).registry
    families = (family for family in registry.collect() if family.name.startswith("reconciler_"))
    served = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert documented == served
