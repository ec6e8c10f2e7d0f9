"""The nearest known name, as people mistype."""

import pytest

from mos_runtime.nearest import nearest, way_out


@pytest.mark.parametrize("typed", ["rx", "Rex", "rexx", "REX", "re"])
def test_nearest_name_is_found_whatever_its_case(typed: str) -> None:
    assert nearest(typed, ["bolt", "rex", "miso"]) == "rex"


def test_name_like_no_other_has_no_nearest() -> None:
    assert nearest("zeppelin", ["bolt", "rex"]) is None


def test_of_forty_names_the_nearest_alone_is_named() -> None:
    names = [f"concept-{number}" for number in range(40)] + ["rex"]
    found = way_out("rx", names, written=lambda name: f"<{name}>")
    assert found == "did you mean <rex>?"


def test_without_a_nearest_a_few_are_listed() -> None:
    names = [f"concept-{number:02}" for number in range(40)]
    assert way_out("zzz", names).endswith("concept-05 and 34 more")
    assert way_out("zzz", []) == "there is none"
