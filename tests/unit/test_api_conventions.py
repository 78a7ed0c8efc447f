"""Selectors, fields, pages, tags, bodies: the pure parts of the API's conventions."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.conventions import media
from api.conventions.fields import parse_fields, select
from api.conventions.pages import Page, cut, parse_page
from api.conventions.selectors import parse_selector
from api.operation import BadQueryError

WEB = {"app": "web", "env": "a", "owner": "ann"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = web , env!=b", True),
        ("app!=web", False),
        ("none!=web", True),
        ("env in (a,b)", True),
        ("env in (b)", False),
        ("env notin (a)", False),
        ("none notin (a)", True),
        ("none in (a)", False),
        ("owner", True),
        ("!owner", False),
        ("!old,app=web,env in ( a , b ),owner", True),
        ("app=", False),
        ("none=", False),
        ("a.b/c=d", False),
    ],
)
def test_selectors_mean_what_kubernetes_means(text, fits):
    selector = parse_selector(text)
    assert selector is not None
    assert selector.fits(WEB) is fits


@pytest.mark.parametrize(
    "text", ["app=web,", "=web", "env in a", "env in (a", "app=a=b", "a b", "!", "app in (a) x"]
)
def test_what_is_no_selector_is_refused(text):
    with pytest.raises(BadQueryError):
        parse_selector(text)


def test_no_selector_is_none():
    assert parse_selector(None) is None
    assert parse_selector(" ") is None


@given(st.text(max_size=60))
def test_any_text_is_a_selector_or_refused(text):
    try:
        selector = parse_selector(text)
    except BadQueryError:
        return
    if selector is not None:
        selector.fits(WEB)


DATA = {
    "metadata": {"name": "x", "labels": {"a.b": "1", "c": "2"}},
    "status": {"addresses": [{"address": "10.0.0.1", "mac": "m"}, {"address": "10.0.0.2"}], "host": "h"},
}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("metadata.name", {"metadata": {"name": "x"}}),
        ("metadata.name,status.host", {"metadata": {"name": "x"}, "status": {"host": "h"}}),
        (r"metadata.labels.a\.b", {"metadata": {"labels": {"a.b": "1"}}}),
        (
            "status.addresses.address",
            {"status": {"addresses": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]}},
        ),
        ("metadata.labels,metadata.labels.c", {"metadata": {"labels": {"a.b": "1", "c": "2"}}}),
        ("spec.none", {}),
        ("metadata.name.deeper", {"metadata": {"name": "x"}}),
    ],
)
def test_only_the_fields_that_were_asked_for_are_left(text, left):
    paths = parse_fields(text)
    assert paths is not None
    assert select(DATA, paths) == left


@pytest.mark.parametrize("text", ["nmae", "metadata..name", ",", "metadata.name,.x"])
def test_what_is_no_field_is_refused(text):
    with pytest.raises(BadQueryError):
        parse_fields(text)


class TestPages:
    """Pages of a list that changes between them."""

    @given(st.sets(st.text(min_size=1, max_size=3), max_size=20), st.integers(1, 7))
    def test_all_pages_together_are_the_list(self, found, limit):
        names = sorted(found)
        seen, token = [], None
        while True:
            begin, end, token = cut(names, parse_page(limit, token, "kind"))
            seen += names[begin:end]
            assert end - begin <= limit
            if token is None:
                break
        assert seen == names

    @given(
        st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=20),
        st.sets(st.text(min_size=1, max_size=3), max_size=10),
        st.integers(1, 5),
    )
    def test_what_comes_and_goes_neither_repeats_nor_hides_anything(self, found, other, limit):
        first, second = sorted(found), sorted(found ^ other)
        begin, end, token = cut(first, parse_page(limit, None, "kind"))
        seen = first[begin:end]
        while token is not None:
            begin, end, token = cut(second, parse_page(limit, token, "kind"))
            seen += second[begin:end]
        assert len(seen) == len(set(seen))
        assert set(first) & set(second) <= set(seen)

    def test_a_token_belongs_to_its_query(self):
        *_, token = cut(["a", "b"], parse_page(1, None, "machines", "app=web"))
        assert parse_page(1, token, "machines", "app=web").after == "a"
        with pytest.raises(BadQueryError):
            parse_page(1, token, "machines", "app=db")

    @given(st.text(min_size=1, max_size=40))
    def test_what_is_no_token_is_refused(self, text):
        with pytest.raises(BadQueryError):
            parse_page(1, text, "machines")

    def test_no_limit_is_all(self):
        assert cut(["a", "b"], Page(None, "", "")) == (0, 2, None)


class TestBodies:
    """JSON and YAML of strangers."""

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**60), 2**60)
            | st.text(st.characters(codec="utf-8"), max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
            ),
            max_leaves=10,
        )
    )
    def test_json_is_read_as_it_is(self, data):
        assert media.parse_json(json.dumps(data).encode()) == data

    @given(st.binary(max_size=80))
    def test_any_bytes_are_read_or_refused(self, content):
        for parse in (media.parse_json, media.parse_yaml):
            with suppress(media.BadBodyError):
                media.to_json(parse(content))

    @pytest.mark.parametrize(
        "text",
        [
            '{"a": 1, "a": 2}',
            '{"x": {"a": 1, "a": 1}}',
            '{"a": NaN}',
            '{"a": 1e999}',
            '{"a": "\\ud800"}',
            '{"\\ud800": 1}',
            "[" * 100 + "]" * 100,
            "[" * 100_000 + "]" * 100_000,
            '{"a":' * 5000 + "1" + "}" * 5000,
            '{"a": ' + "9" * 5000 + "}",
            "{",
            '{"a": 1} x',
            "\ufeff{}",
        ],
        ids=lambda text: text[:20],
    )
    def test_bad_json_is_refused(self, text):
        with pytest.raises(media.BadBodyError):
            media.parse_json(text.encode())

    @pytest.mark.parametrize(
        "text",
        [
            "a: 1\na: 2",
            "a: 1\n---\nb: 2",
            "[" * 100_000,
            "a: &a [1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            + "".join(
                f"{x}: &{x} [{','.join(['*' + y] * 10)}]\n" for x, y in zip("cdefg", "bcdef", strict=True)
            ),
            "a: &a {b: *a}",
            "a: !!python/object/apply:os.system ['true']",
            "a: 'x",
        ],
        ids=lambda text: text[:20],
    )
    def test_bad_yaml_is_refused(self, text):
        with pytest.raises(media.BadBodyError):
            media.parse_yaml(text.encode())
