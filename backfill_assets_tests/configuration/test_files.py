"""YAML and JSON files as such: what they hold survives as it is written, and what cannot be read is said."""

from pathlib import Path

import pytest

from backfill_assets.configuration.files import dotted, read_document
from backfill_assets.errors import ConfigurationError


def _read(folder: Path, name: str, content: str | bytes) -> object:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_document(path, variable="BACKFILL_TENANTS_FILE")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.yaml", "tenants: {acme: {enabled: true}}"),
        ("t.yml", "\ufefftenants:\n  acme:\n    enabled: true\n"),
        ("t.json", '\ufeff{\n\t"tenants": {"acme": {"enabled": true}}}'),
        ("t.JSON", '{"tenants": {"acme": {"enabled": true}}}'),
    ],
)
def test_both_languages_say_the_same(tmp_path: Path, name: str, content: str) -> None:
    assert _read(tmp_path, name, content) == {"tenants": {"acme": {"enabled": True}}}


def test_a_key_stays_as_it_is_written(tmp_path: Path) -> None:
    """YAML reads 0042 as 34, no as false and 2024-01-01 as a date: as ids of tenants they are names."""
    assert _read(tmp_path, "t.yaml", "{0042: 1, no: 2, 2024-01-01: 3, null: 4, 1e3: 5}") == {
        "0042": 1,
        "no": 2,
        "2024-01-01": 3,
        "null": 4,
        "1e3": 5,
    }


def test_merged_keys_of_yaml_work_and_may_be_overridden(tmp_path: Path) -> None:
    content = "usual: &usual {a: 1, b: 2}\nspecial: {<<: *usual, b: 3}\nmore: {<<: *usual, a: 4}\n"
    assert _read(tmp_path, "t.yaml", content) == {
        "usual": {"a": 1, "b": 2},
        "special": {"a": 1, "b": 3},
        "more": {"a": 4, "b": 2},
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.yaml", "", "t.yaml is empty; let BACKFILL_TENANTS_FILE name a file with settings, or unset it"),
        ("t.yaml", "# all off\n", "t.yaml is empty; let BACKFILL_TENANTS_FILE name a file with settings, or unset it"),
        ("t.json", " \n", "t.json is empty; let BACKFILL_TENANTS_FILE name a file with settings, or unset it"),
        ("t.yaml", "- acme\n", "t.yaml must be a mapping of names to values at its top level"),
        ("t.json", '"acme"', "t.json must be a mapping of names to values at its top level"),
        ("t.yaml", "a: 1\nb: 2\na: 3\n", "t.yaml, line 3: this is not YAML that can be read: 'a' is there twice"),
        ("t.yaml", "[1]: 2\n", "t.yaml, line 1: this is not YAML that can be read: a key must be text"),
        (
            "t.json",
            '{"a": {"b": 1, "b": 2}}',
            "t.json: this is not JSON that can be read: 'b' is there twice in one mapping",
        ),
        ("t.json", '{"a": 1,\n}', "t.json, line "),
        ("t.yaml", "a: 2023-13-01\n", "t.yaml: this is not YAML that can be read: it holds a character or a date"),
        (
            "t.yaml",
            "[" * 3000 + "]" * 3000,
            "t.yaml: this is not YAML that can be read: its mappings or lists are nest",
        ),
        ("t.json", "[" * 99999 + "]" * 99999, "t.json: this is not JSON that can be read: its mappings or lists are n"),
        ("t.yaml", "a: \x00\n", "t.yaml: this is not YAML that can be read: it holds a character or a date"),
        ("t.yaml", "a: !!python/object:os.system {}\n", "t.yaml, line 1: this is not YAML that can be read: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _read(tmp_path, name, content)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_broken_file_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _read(tmp_path, "t.yaml", "private_key: 'hush-hush\nmore: [\n")
    assert "hush" not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_folder_and_a_file_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_document(tmp_path, variable="BACKFILL_TENANTS_FILE")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not UTF-8 text"):
        _read(tmp_path, "t.yaml", b"a: \xff\xfe")


def test_a_path_quotes_the_names_that_would_blur_it() -> None:
    assert dotted("tenants", "acme.com", "desk", "service/tickets", 0) == "tenants.'acme.com'.desk.service/tickets.0"
    assert dotted("tenants", "a\nb") == r"tenants.'a\nb'"
