from __future__ import annotations

from pathlib import Path

from botocore.session import get_session

from emrctl.emulator import differences

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"


def test_operations_are_those_of_the_api() -> None:
    operations = differences.operations()
    assert list(operations) == sorted(get_session().get_service_model("emr").operation_names)
    assert set(differences.OPERATION_SUPPORT) <= set(operations)
    assert {one.level for one in operations.values()} == {"full", "partial", "none"}
    assert all(one.note for one in operations.values() if one.level != "full")


def test_page_has_the_table_of_operations_and_all_differences() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert differences.markdown_table() in text
    for difference in differences.DIFFERENCES:
        assert f"- {difference}\n" in text
