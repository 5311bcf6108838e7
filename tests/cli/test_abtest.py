"""`emrctl abtest`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.answers import Emrctl

DOCUMENT = Path(__file__).parents[2] / "docs" / "abtest.md"


def test_abtest_prints_what_its_document_shows(typed: Emrctl) -> None:
    [command, shown] = re.findall(r"```\w*\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    code, out, _ = typed(*command.split()[1:])
    assert (code, out) == (0, shown)
    assert "p = 0.195 one-sided" in out
    record = json.loads(typed("abtest", "7%/1062", "8%/982", "--json")[1])
    assert record["p_one_sided"] == pytest.approx(0.1953, abs=1e-4)
    assert record["sample_size"] == 10890


def test_abtest_without_trials_prints_sample_size_only(typed: Emrctl) -> None:
    code, out, _ = typed("abtest", "10%", "20%", "--power", "0.9")
    assert (code, out) == (0, "to detect 0.1 against 0.2 with power 0.9: 266 trials per group\n")
    assert "the rates are equal" in typed("abtest", "10%", "10%")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("7%", "8%/982"), "only one of the two"),
        *(
            ((text, "8%"), f"'{text}' is not a rate between 0 and 1")
            for text in (
                "",
                "7",
                "x/3",
                "3/0",
                "5/3",
                "101%",
                "0.5/3",
                "nan%",
                "3/2.5",
                f"1/1{400 * '0'}",
            )
        ),
        (("7%", "8%", "--power", "1"), "--power 1: must be between 0 and 1"),
    ],
)
def test_abtest_rejects_invalid_input(
    typed: Emrctl, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = typed("abtest", *arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("text", "rate", "trials"),
    [("74/1062", 74 / 1062, 1062), ("7%/1,062", 0.07, 1062), ("0/3", 0, 3), ("3/3", 1, 3)],
)
def test_abtest_reads_counts_and_percentages(
    typed: Emrctl, text: str, rate: float, trials: int
) -> None:
    record = json.loads(typed("abtest", text, "8%/100", "--json")[1])
    assert record["rates"][0] == pytest.approx(rate)
    assert record["trials"] == [trials, 100]
