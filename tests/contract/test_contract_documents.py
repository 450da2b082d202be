"""Bytes that claim to be a spec: what is accepted means one thing, everything else is one clear refusal, quickly."""

import json
import math
import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.document import MAX_NODES, YAML_TYPES, parse_json, parse_mapping, parse_yaml, to_yaml
from contract.errors import InvalidSpec, PotstillError, Refused


def refused(raw: bytes, language: str = "application/yaml") -> Refused:
    with pytest.raises(Refused) as caught:
        parse_mapping(raw, language)
    error = caught.value
    assert not isinstance(error, InvalidSpec)
    assert (error.status, error.code) == (400, "malformed_body")
    assert len(error.detail) < 500
    error.problem("/v1/jobs", "req_1").model_dump_json()
    return error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5.0e-3", 0.005), ("5e-3", 0.005), ("5E-3", 0.005), ("1e5", 1e5), ("1.e5", 1e5), ("-.5e3", -500.0), ("+1.5", 1.5), ("1.", 1.0),
        (".5", 0.5), ("0", 0), ("010", 10), ("-7", -7), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("1_000", "1_000"), ("1:30", "1:30"),
        ("0b11", "0b11"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("true", True), ("True", True),
        ("FALSE", False), ("tRUE", "tRUE"), ("null", None), ("~", None), ("", None), ("2024-01-01", "2024-01-01"), ("=", "="),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"), ('"no"', "no"), ("digits # the usual", "digits"), ("e5", "e5"), (".", "."), ("!!str 5", "5"), ("!!float 3", 3.0),
    ],
)  # fmt: skip
def test_plain_words_are_read_as_yaml_1_2_reads_them(text, value):
    """YAML 1.1 makes text of 5e-3, false of `no`, eight of 010 and ninety of 1:30; each has cost somebody a run."""
    found = parse_mapping(f"a: {text}".encode(), "application/yaml")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "value"), [(".inf", math.inf), ("-.INF", -math.inf), ("1e400", math.inf)])
def test_infinities_are_read_and_left_for_the_spec_to_refuse(text, value):
    assert parse_yaml(f"a: {text}".encode()) == {"a": value}
    assert math.isnan(parse_yaml(b"a: .nan")["a"])


@pytest.mark.parametrize("content_type", [*YAML_TYPES, "Application/YAML; charset=utf-8", " text/yaml "])
def test_yaml_goes_by_all_its_names(content_type):
    assert parse_mapping(b"kind: train", content_type) == {"kind": "train"}


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
def test_everything_else_is_json(content_type):
    assert parse_mapping(b'{"kind": "train"}', content_type) == {"kind": "train"}
    refused(b"kind: train", content_type)


@pytest.mark.parametrize("language", ["application/json", "application/yaml"])
def test_a_byte_order_mark_is_no_part_of_the_text(language):
    assert parse_mapping(b'\xef\xbb\xbf{"kind": "train"}', language) == {"kind": "train"}


DUPLICATES = [b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "c": 2, "b": 3}}', b'[{"x": [{"a": 1, "\\u0061": 2}]}]']


@pytest.mark.parametrize("raw", DUPLICATES)
@pytest.mark.parametrize("language", ["application/json", "application/yaml"])
def test_a_key_given_twice_is_refused_and_named(raw, language):
    """Parsers keep the last one silently: of two learning rates, one would be a lie."""
    raw = raw if raw.startswith(b"{") else b'{"list": ' + raw + b"}"
    assert "given twice" in refused(raw, language).detail


def test_the_line_of_the_second_key_is_told():
    error = refused(b"training:\n  epochs: 1\n  seed: 2\n  epochs: 3\n")
    assert "'epochs'" in error.detail
    assert "line 4" in error.detail


@pytest.mark.parametrize("raw", [b"", b"  \n", b"\t"])
@pytest.mark.parametrize("language", ["application/json", "application/yaml"])
def test_an_empty_body_is_called_empty(raw, language):
    assert "empty" in refused(raw, language).detail


@pytest.mark.parametrize(
    ("raw", "kind"), [(b"[1, 2]", "a list"), (b'"train"', "text"), (b"null", "null"), (b"5", "int"), (b"true", "bool"), (b"0.5", "float")]
)
@pytest.mark.parametrize("language", ["application/json", "application/yaml"])
def test_what_is_no_mapping_is_said_to_be_what_it_is(raw, kind, language):
    with pytest.raises(InvalidSpec, match=kind) as caught:
        parse_mapping(raw, language)
    assert caught.value.status == 422
    assert caught.value.hint


@pytest.mark.parametrize("raw", [b"# nothing but a comment\n", b"---\n...\n", b"--- null"])
def test_yaml_without_content_is_null(raw):
    with pytest.raises(InvalidSpec, match="null"):
        parse_mapping(raw, "application/yaml")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1', b"{a: 1}", b"{'a': 1}", b'{"a": 1,}', b'{"a": 01}', b'{"a": 1} {"b": 2}', b"\xff\xfe\xfa", b'{"a": "\xff"}',
        b'{"a": "\n"}',
        b"[" * 100_000, b'{"a":' * 100_000, b"[" * 5_000 + b"]" * 5_000, b'{"a": ' + b"9" * 5_000 + b"}", b'{"a": -' + b"9" * 5_000 + b"}",
    ],
    ids=lambda raw: str(raw[:12]),
)  # fmt: skip
def test_broken_json_is_refused(raw):
    refused(raw, "application/json")


@pytest.mark.parametrize(
    "raw",
    [
        b"a: [1", b"a: {b: 1", b"a: b: c", b"a:\n\t- 1", b'a: "\\xZZ"', b"a: *nowhere", b"\x00", b"a: \xff", b"%YAML 9.9\n---\na: 1",
        b"a: 1\n---\nb: 2",
        b"- 1\na: 2", b"? [1, 2]\n: 3", b"? {a: 1}\n: 3", b"<<: 5", b"a: {<<: [1]}",
        b"[" * 100_000, b"{a: " * 100_000, b"- " * 100_000, b"[" * 5_000 + b"]" * 5_000, b"a: " + b"9" * 5_000,
    ],
    ids=lambda raw: str(raw[:12]),
)  # fmt: skip
def test_broken_yaml_is_refused(raw):
    refused(raw)


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system [echo]", "!!python/name:os.system ''", "!!binary zzz", "!!binary aGk=", "!!timestamp 2024-01-01",
        "!!timestamp x", "!!set {b}", "!!omap [b: 1]", "!!pairs [b: 1]", "!student 5", "!!value =", "!<tag:example.com,2024:x> 5",
    ],
)  # fmt: skip
def test_tags_for_what_json_cannot_hold_are_refused_by_name(tagged):
    """A date or a set would pass as a value and fail where the spec is stored."""
    assert "tag" in refused(f"a: {tagged}".encode()).detail


@pytest.mark.parametrize(
    "tagged",
    [
        "!!bool perhaps",
        '!!int ""',
        '!!int "-"',
        '!!float ""',
        "!!int 1e5",
        "!!int x",
        "!!float x",
        "!!str [1]",
        "!!seq {a: 1}",
        "!!map [1]",
        "!!null [1]",
    ],
)
def test_a_value_that_is_not_what_its_tag_says_is_refused(tagged):
    """PyYAML itself answers some of these with KeyError and IndexError."""
    refused(f"a: {tagged}".encode())


def bomb(levels: int, width: int) -> bytes:
    lines = [f"l0: &l0 [{', '.join(['x'] * width)}]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


MERGES = b"a: &a {" + b", ".join(f"k{i}: 1".encode() for i in range(100)) + b"}\n"
LOOPS = [b"a: &x [*x]", b"a: &x {b: *x}", b"a: &x [1, [2, {c: *x}]]", b"a: &x {? *x : 1}", b"a: &x {<<: *x}", b"&x {a: &y [*x], b: *y}"]


@pytest.mark.parametrize(
    "raw",
    [bomb(9, 9), bomb(30, 2), bomb(2, 200), MERGES + b"\n".join(f"m{i}: &m{i} {{<<: [*a, *a, *a]}}".encode() for i in range(100)), *LOOPS],
    ids=["nine nines", "thirty twos", "wide", "merges", *(f"loop {i}" for i in range(len(LOOPS)))],
)
def test_aliases_that_explode_or_bite_their_tail_are_refused_before_they_are_built(raw):
    started = time.process_time()
    assert "alias" in refused(raw).detail
    assert time.process_time() - started < 2


def test_aliases_and_merges_of_decent_size_are_what_yaml_is_loved_for():
    raw = b"base: &base {epochs: 3, seed: 1}\ntraining: {<<: *base, seed: 2}\nagain: [*base, *base]\n"
    once = {"epochs": 3, "seed": 1}
    assert parse_mapping(raw, "application/yaml") == {"base": once, "training": {"epochs": 3, "seed": 2}, "again": [once, once]}


def test_a_document_of_more_values_than_a_page_holds_is_refused_with_or_without_aliases():
    refused(b"a: [" + b"1, " * MAX_NODES + b"1]")
    assert len(parse_yaml(b"a: [" + b"1, " * (MAX_NODES // 2) + b"1]")["a"]) == MAX_NODES // 2 + 1


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\n".join(b"k%d: 1" % i for i in range(80_000)), f"more than {MAX_NODES}"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b"{" * 1_000_000, "nested too deeply"),
        (b"a: " + b"[" * 200 + b"]" * 200, "nested too deeply"),
    ],
    ids=["lines", "brackets", "braces", "levels"],
)
def test_a_mebibyte_of_yaml_is_given_up_before_it_is_read(raw, why):
    """Whoever may have a spec checked could else keep a processor busy for seconds with each request."""
    started = time.process_time()
    assert why in refused(raw).detail
    assert time.process_time() - started < 2


def test_an_endless_number_is_refused_in_our_words():
    detail = refused(b'{"a": ' + b"9" * 5000 + b"}", "application/json").detail
    assert "5000 digits" in detail and "sys." not in detail


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


@given(values)
@settings(max_examples=60, deadline=None)
def test_json_comes_back_as_it_was_written(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(values)
@settings(max_examples=60, deadline=None)
@example({"": ""})
@example(["5e-3", "010", "no", "1:30", "=", "<<", "~", "!x", "- a", "0x1"])
def test_yaml_that_was_written_by_another_program_comes_back_as_it_was(value):
    """Every word is quoted here, as JSON-minded writers do: quoted words stay words."""
    assert parse_yaml(yaml.safe_dump(value, default_style='"', allow_unicode=True).encode()) == value


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,?<= \n\t0123456789.eE~", max_size=80).map(str.encode))
@settings(max_examples=250, deadline=None)
@pytest.mark.parametrize("language", ["application/json", "application/yaml"])
def test_any_bytes_are_a_mapping_or_one_of_our_own_refusals(language, raw):
    try:
        assert isinstance(parse_mapping(raw, language), dict)
    except PotstillError as error:
        assert error.status in (400, 422)
        error.problem("/v1/jobs", "req_1").model_dump_json()


LOOKS_LIKE = (
    *("08", "1e-3", "5e10342", "1.5e3", "0o17", "0x1f", "+1", "yes", "no", "true", "null", "~", "1:30", "2024-01-01", ".inf", "1_000"),
    *("#", "é", "'", '"', "{", "@job", "<<", "=", "a:b", "a:", "", " a", "a: b", "- x", "line\nline", "tab\t", "\u2028"),
)


@pytest.mark.parametrize("text", LOOKS_LIKE)
def test_what_is_written_as_yaml_is_read_back_the_same(text):
    """A spec that is shown is submitted again."""
    document = {"name": text, "metadata": {"a": text, "b": [text, 1, 1.5, 1e-7, True, None]}}
    for ascii_only in (True, False):
        assert parse_yaml(to_yaml(document, ascii_only=ascii_only).encode()) == document
