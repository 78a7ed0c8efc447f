from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.service.logs import JsonFormatter, TextFormatter, fields, printable, set_up

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
HOSTILE = "web\n2026-01-01T00:00:00.000Z error   forged\r\x1b[2J\u2028\u202e\x85"


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    logger = logging.getLogger("reconciler")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def written(form: Literal["text", "json"], message: str, **values: object) -> str:
    stream = io.StringIO()
    set_up(form, stream=stream)
    logging.getLogger("reconciler.engine").info(message, extra=fields(**values))
    return stream.getvalue()


def test_text() -> None:
    line = written("text", "placed", vm="web-1", hosts=3, why="most room", empty="")
    assert re.fullmatch(rf'{TIME} info    placed vm=web-1 hosts=3 why="most room" empty=""\n', line)


def test_json() -> None:
    told = json.loads(written("json", "placed", vm="web-1", hosts=3, time="a field cannot pose as the time"))
    assert re.fullmatch(TIME, told.pop("time"))
    assert told == {
        "level": "info",
        "logger": "reconciler.engine",
        "message": "placed",
        "vm": "web-1",
        "hosts": 3,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_name_can_forge_a_line(form: Literal["text", "json"]) -> None:
    text = written(form, HOSTILE, vm=HOSTILE, **{HOSTILE: 1})
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_whatever_is_logged_is_one_printable_line(message: str, values: dict[str, str]) -> None:
    record = logging.LogRecord("reconciler", logging.INFO, "", 0, message, None, None)
    record.fields = values
    for formatter in (TextFormatter(), JsonFormatter()):
        assert formatter.format(record).isprintable()


@given(st.text())
def test_what_prints_is_left_alone(text: str) -> None:
    assert printable(text).isprintable()
    assert (printable(text) == text) == text.isprintable()


def test_a_value_cannot_forge_another_field() -> None:
    line = written("text", "placed", vm='web host=evil "quoted"')
    assert line.endswith('vm="web host=evil \\"quoted\\""\n')


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    set_up("text", stream=stream)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("reconciler").exception("broken")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "ValueError" in text
    assert "second" in text


def test_setting_up_again_does_not_double_the_lines() -> None:
    written("text", "first")
    assert written("text", "second").count("second") == 1


def test_other_libraries_are_left_alone() -> None:
    before = logging.getLogger().handlers[:]
    written("text", "ours")
    assert logging.getLogger().handlers == before
