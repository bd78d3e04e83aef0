"""The YAML reader: what values mean, and what hostile or careless text comes to."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yaml.scanner import ScannerError

from cell_train.config.yaml import nodes
from cell_train.errors import ConfigError, collecting


def plain(text: str) -> object:
    with collecting() as wrong:
        root = nodes.parse(text, "f.yaml", wrong)
    assert root is not None
    return nodes.plain(root)


def read(path: Path) -> None:
    with collecting() as wrong:
        nodes.read(path, wrong)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("012", "012"),
        ("1:30", "1:30"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    got = plain(f"key: {text}")
    assert got == {"key": value}
    assert isinstance(got, dict)
    assert type(got["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1", "'a' is written twice, first on line 1"),
        ("a:\n\tb: 1", "f.yaml:2:1", "never tabs"),
        ("a: [1, 2\nb: 3", "f.yaml:1:4", "this bracket is not closed; close it with ]"),
        ("a: {b: 1\nc: 2", "f.yaml:1:4", "this bracket is not closed; close it with }"),
        ("a: 'x\nb: 1", "f.yaml:1:4", "this quote is not closed"),
        ("a: 1\nb: x\x1b[31m", "f.yaml:2:5", "character U+001B is not allowed"),
        ("a:1\nb: 2", "f.yaml:1:1", "write a colon and a space"),
        ("b: 2\n\na = 1\nc: 3", "f.yaml:3:1", "write a colon and a space"),
        ("a: *b", "f.yaml:1:4", "no anchor &b"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1:4", "not allowed"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1", "second document"),
        ("? [1]\n: 2", "f.yaml:1:3", "plain text"),
    ],
)
def test_a_broken_text_is_one_located_sentence(text: str, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plain(text)
    sentence = str(caught.value)
    assert sentence.startswith(where)
    assert says in sentence
    assert "\n" not in sentence


class LowLimit(yaml.BaseLoader):
    """A parser that stops at a depth of its own, as libyaml's does from PyYAML 6.0.4 on."""

    def fetch_flow_collection_start(self, kind: type) -> None:
        if self.flow_level == 100:
            raise ScannerError(None, None, "exceeded maximum depth", self.get_mark())
        super().fetch_flow_collection_start(kind)


@pytest.mark.parametrize("parser", [nodes._Loader, yaml.BaseLoader, LowLimit])
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[" * 100_000, "f.yaml:1:33"),
        ("[" * 1_001 + "]" * 1_001, "f.yaml:1:33"),
        ("stage: 1\ndata:\n  path: " + "{" * 2_000, "f.yaml:3:39"),
        ("[\n" * 2_000, "f.yaml:33:1"),
        ("- " * 2_000, "f.yaml:1:65"),
        ("? " * 2_000, "f.yaml:1:65"),
        ("\n".join(" " * i + "a:" for i in range(600)), "f.yaml:33:33"),
    ],
)
def test_depth_is_refused_in_one_sentence_whatever_the_parser_bears(
    text: str, where: str, parser: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_Loader", parser)
    with pytest.raises(ConfigError) as caught:
        plain(text)
    last = str(caught.value.problems[-1])
    assert last.startswith(f"{where}: is nested deeper than 32 levels")


def test_tabs_do_not_hide_what_is_wrong_behind_them() -> None:
    with pytest.raises(ConfigError) as caught:
        plain("a:\n\tb: 1\n    \tc: !!int 2\n")
    places = [(one.place.line, one.place.column) for one in caught.value.problems]
    assert places[:2] == [(2, 1), (3, 5)]
    with pytest.raises(ConfigError) as caught:
        plain("a:\n\tb: 1\n\tc: !!int 2\n\tb: 3\n")
    places = [(one.place.line, one.place.column) for one in caught.value.problems]
    assert places == [(2, 1), (3, 1), (4, 1), (3, 5), (4, 2)]  # columns as they were typed


def test_aliases_unfold_but_do_not_explode() -> None:
    assert plain("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    with pytest.raises(ConfigError, match="aliases unfold"):
        plain(bomb)


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("stage: 1\ndescription: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml:2:17: byte 0xe9 is not UTF-8"):
        read(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (nodes.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read(large)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "absent.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfstage: 1\r\nepochs: 2\r\n")
    assert nodes.load(path) == {"stage": 1, "epochs": 2}


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60)
)
keys = st.text("abcdefghij_", min_size=1, max_size=8)
trees = st.dictionaries(
    keys, scalars | st.lists(scalars, max_size=4) | st.dictionaries(keys, scalars), max_size=6
)


@given(trees)
def test_what_is_dumped_is_read_back_equal(tree: dict[str, object]) -> None:
    assert plain(nodes.dump(tree)) == tree


@given(st.text(max_size=200))
def test_any_text_is_a_tree_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        plain(text)
