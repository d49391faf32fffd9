"""Commands that fill several cells at once."""

from __future__ import annotations

from itertools import product

from leukobench.papers.commands import fewest


def test_a_full_grid_is_one_command():
    grid = [f"leukobench sweep x model={m} epochs={e}" for m, e in product("ab", (1, 2))]
    assert set(fewest(grid).values()) == {"leukobench sweep x model=a,b epochs=1,2"}


def test_nothing_else_is_run_by_joined_commands():
    asked = ["leukobench sweep x model=a epochs=1", "leukobench sweep x model=b epochs=2"]
    assert list(fewest(asked).values()) == asked


def test_commands_that_hold_values_of_one_key_each_run_them_once():
    asked = ["leukobench sweep x epochs=1,2", "leukobench sweep x epochs=2,3"]
    assert set(fewest(asked).values()) == {"leukobench sweep x epochs=1,2,3"}


def test_a_key_that_one_command_does_not_have_keeps_it_apart():
    asked = ["leukobench sweep x epochs=1", "leukobench sweep x epochs=1 split=official"]
    assert list(fewest(asked).values()) == asked


def test_a_list_is_one_value_and_is_quoted_for_the_shell():
    asked = [f"leukobench sweep x 'model.hidden=[{n}, 2]'" for n in (1, 3)]
    assert set(fewest(asked).values()) == {"leukobench sweep x 'model.hidden=[1, 2],[3, 2]'"}
