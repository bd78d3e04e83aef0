"""Stage selection."""

import pytest

from cell_train.config import selection
from cell_train.errors import ConfigError

KNOWN, OPTIONAL = [1, 2, 3, 4, 5, 6], [6]


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        (None, [1, 2, 3, 4, 5]),
        ("3", [3]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("1,3-4", [1, 3, 4]),
        ("4,1,1-2", [1, 2, 4]),
        ("3-", [3, 4, 5]),
        ("-2", [1, 2]),
        ("6", [6]),
        ("6-", [6]),
        ("4-6", [4, 5, 6]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_selected_stages(text: str | None, stages: list[int]) -> None:
    assert selection.parse(text, KNOWN, OPTIONAL) == stages


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,x", "'x' is no stage or range"),
        ("", "'' is no stage or range"),
        ("-", "'-' is no stage or range"),
        ("1,,2", "'' is no stage or range"),
        ("1-2-3", "'1-2-3' is no stage or range"),
        ("1.5", "'1.5' is no stage or range"),
        ("5-3", "'5-3' runs backwards; write 3-5"),
        ("7", "stage 7 is not there; there are stages 1, 2, 3, 4, 5, 6"),
        ("4-9", "stage 7 of '4-9' is not there"),
        ("1-999999", "stage 7 of '1-999999' is not there"),
    ],
)
def test_the_wrong_part_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        selection.parse(text, KNOWN, OPTIONAL)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"--stages {text}: ")


def test_a_gap_in_the_range_is_named() -> None:
    for text in (None, "1-4", "2-"):
        with pytest.raises(ConfigError, match="stage 3"):
            selection.parse(text, [1, 2, 4])
