"""`emrctl abtest`: compare two proportions, or plan how many trials that needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.compare import proportions
from emrctl.errors import UsageError

app = options.new_app()
_MOST_TRIALS = 10**15  # whole numbers that a double holds exactly

_HELP = "COUNT/TRIALS or PERCENT%/TRIALS."


@app.command()
@options.common("json")
def abtest(
    context: options.Context,
    control: Annotated[str, typer.Argument(metavar="CONTROL", help=_HELP)],
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help=_HELP)],
    confidence: Annotated[float, typer.Option(help="Of the interval and the test.")] = 0.95,
    power: Annotated[float, typer.Option(help="Probability of detecting the difference.")] = 0.8,
) -> None:
    """Test whether two rates differ, e.g. 7%/1062 and 8%/982.

    Without /TRIALS, print only the sample size that shows the difference.
    """
    _check_share("--confidence", confidence)
    _check_share("--power", power)
    (rate, n), (other_rate, other_n) = _parse(control), _parse(variant)
    size = proportions.sample_size(rate, other_rate, power=power, confidence=confidence)
    if (n is None) != (other_n is None):
        raise UsageError("only one of the two has a number of trials", hint="Add /TRIALS to both.")
    result: dict[str, float] = {}
    if n and other_n:
        groups = (rate, n, other_rate, other_n)
        result = asdict(proportions.two_proportions(*groups, confidence=confidence))
        result["power"] = proportions.power(*groups, confidence=confidence)
    if context.as_json:
        record = {"rates": (rate, other_rate), "trials": (n, other_n), "sample_size": size}
        render.json_document(record | result)
        return
    if result:
        _print(result, 100 * confidence)
    needed = f"{size:,} trials per group" if size else "no number of trials: the rates are equal"
    typer.echo(f"to detect {rate:.4g} against {other_rate:.4g} with power {power:g}: {needed}")


def _check_share(flag: str, value: float) -> None:
    if not 0 < value < 1:
        raise UsageError(f"{flag} {value:g}: must be between 0 and 1")


def _parse(text: str) -> tuple[float, int | None]:
    """Return the rate and the trials of `74/1062`, `7%/1062` or `7%`; no trials in the last."""
    error = UsageError(
        f"'{text}' is not a rate between 0 and 1",
        hint="Write 74/1062, 7%/1062, or 7% for a sample size only; at most 1e15 trials.",
    )
    share, slash, trials = text.replace(",", "").replace(" ", "").partition("/")
    try:
        n = int(trials) if slash else None
        value = float(share.removesuffix("%"))
    except ValueError:
        raise error from None
    is_percentage = share.endswith("%")
    has_trials = n is not None and 1 <= n <= _MOST_TRIALS
    if (slash and not has_trials) or not (is_percentage or (n and value.is_integer())):
        raise error
    rate = value / 100 if is_percentage or n is None else value / n
    if not 0 <= rate <= 1:
        raise error
    return rate, n


def _print(result: dict[str, float], percent: float) -> None:
    difference, low, high = (f"{100 * result[name]:+.2f}" for name in ("difference", "low", "high"))
    typer.echo(f"difference: {difference} points, {percent:g} % interval {low} to {high}")
    one, two = result["p_one_sided"], result["p_value"]
    typer.echo(f"z = {result['z']:.3f}, p = {one:.3f} one-sided, {two:.3f} two-sided")
    differ = "differ" if two < 1 - percent / 100 else "may be equal"
    chance = f"the power for a difference like this is {result['power']:.2f}"
    typer.echo(f"The rates {differ} at {percent:g} % confidence; {chance}.")
