"""Axes of sweeps and grids: what is one value, how they combine, and what is refused."""

import pytest

from common.config.axes import Axis, combinations, name_of, names_of, parse_axes
from common.errors import UserError


def test_commas_within_brackets_belong_to_the_value():
    assert parse_axes("--axis", ["a.b=[1, 2],[3],[]", "c = x , y"]) == [
        Axis("a.b", ["[1, 2]", "[3]", "[]"]),
        Axis("c", ["x", "y"]),
    ]


def test_every_value_goes_with_every_other_in_the_order_given():
    axes = [Axis("a", ["2", "1"]), Axis("b", ["x", "y"])]
    assert combinations(axes) == [("a=2", "b=x"), ("a=2", "b=y"), ("a=1", "b=x"), ("a=1", "b=y")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "--axis 'a': expected key=a,b with values that differ"),
        (["a="], "expected key=a,b"),
        (["=1"], "expected key=a,b"),
        (["a=1,,2"], "expected key=a,b"),
        (["a=1,1"], "values that differ"),
        (["a='x,y',z"], "leave out the quotes"),
        (['a="x"'], "leave out the quotes"),
        (["a=1", "b=2", "a=3"], "--axis: 'a' is given twice"),
        (["threads=1,2"], "--axis: 'threads' is given twice"),
    ],
)
def test_a_mistake_is_refused(texts, message):
    with pytest.raises(UserError) as caught:
        parse_axes("--axis", texts, ["threads=4"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_is_one_that_a_file_can_have():
    assert name_of(["whole", "[1, 2]", "a/b"]) == "whole-_1_2_-a_b"


def test_values_that_differ_have_names_that_differ():
    words = [["x", value] for value in ("/a/b", "/a_b", "/a b", "c")]
    assert names_of(words) == ["x-_a_b", "x-_a_b-2", "x-_a_b-3", "x-c"]
    assert names_of([["a-2"], ["a"], ["a"]]) == ["a-2", "a", "a-3"]
    assert name_of(["-1", "2"]) == "1-2"  # no name that programs take for an option
