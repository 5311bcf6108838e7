"""The faults that are tried: each function is one row of the table of `make faults`."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from tests.faults.client import EVERY, REQUEST, WRITES, Action, Fault, Result
from tests.faults.emulator import Rule
from tests.faults.report import Row
from tests.faults.scenario import Emulator, Project

UP, SUBMIT, WAIT, PULL = "up", "submit job", "wait latest", "pull latest --output files"
EXPERIMENT, TUNE, DOWN = "experiment run grid", "tune grid --runs 3 --repeats 1", "down --yes"
TRIALS = 4
# Seconds that a client waits for a slow response.
_SHORT_S = 1.0


@dataclass
class World:
    """The emulator of all faults, and a project with a cluster that most of them use.

    Of every sweep, `points` points are tried, at equal distances; 0 is all of them.
    """

    emulator: Emulator
    folder: Path
    points: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def base(self) -> Project:
        """The project with a cluster."""
        project = Project.create(self.emulator, self.folder / "base", "pets")
        result = must(project, UP)
        assert result.code == 0, result
        return project

    @cached_property
    def account(self) -> Counter[str]:
        """What the account has without new projects."""
        assert self.base.name
        return self.emulator.inventory()

    def copy(self, *, shared: bool = False) -> Project:
        """Return a project without runs whose cluster is that of `base`."""
        if shared:
            self.emulator.delete_objects("runs/")
        project = self.base.copy(self.folder / f"copy-{next(self._numbers)}", shared=shared)
        assert project.earlier_steps is not None
        return project

    def new(self) -> Project:
        """Return a project that has nothing on the account."""
        assert self.account
        number = next(self._numbers)
        return Project.create(self.emulator, self.folder / f"new-{number}", f"new{number}")

    def chosen(self, total: int) -> list[int]:
        """Return the numbers of the points to try of `total`."""
        if not self.points or total <= self.points:
            return list(range(1, total + 1))
        step = total / self.points
        return sorted({1 + int(step * (number + 0.5)) for number in range(self.points)})

    @contextmanager
    def network(self, rule: Rule) -> Iterator[None]:
        """Let requests fail by the rule."""
        self.emulator.network(rule)
        try:
            yield
        finally:
            self.emulator.network(None)


def must(project: Project, command: str) -> Result:
    """Run a command that must succeed."""
    result = project.run(command)
    if result.code:
        project.problem(f"`emrctl {command}`: exit code {result.code}: {result.err[-500:]}")
    return result


# --- commands, what they need, and what must hold after the user has tried again ------------------


@dataclass(frozen=True)
class Case:
    """A command, the project in which it is run, and the check of what it left.

    `check` gets the number of the fault, and first does what a user does after a failure.
    """

    command: str
    prepare: Callable[[World], Project]
    check: Callable[[World, Project, int], None]


def _submitted(world: World, *, shared: bool = False) -> Project:
    project = world.copy(shared=shared)
    must(project, "submit --detach job")
    return project


def _completed(world: World, *, shared: bool = False) -> Project:
    project = world.copy(shared=shared)
    must(project, SUBMIT)
    return project


def _deployed(world: World) -> Project:
    project = world.new()
    must(project, UP)
    return project


def _check_up(world: World, project: Project, number: int) -> None:
    """Every resource is seen by `gc`; `up` continues, or `down` deletes everything."""
    project.check_seen_by_gc(world.account)
    if number % 2:
        must(project, UP)
        clusters = project.json("list")["clusters"]
        if len(clusters) != 1:
            project.lost += 1
            project.problem(f"`up` created {len(clusters)} clusters")
    _check_down(world, project, number)


def _check_down(world: World, project: Project, _number: int) -> None:
    """`down` deletes everything, the bucket too."""
    must(project, DOWN)
    must(project, "down --storage --yes")
    left = project.check_nothing_left(world.account)
    world.account.update(left)


def _check_runs(_world: World, project: Project, _number: int) -> None:
    project.check_runs()


def _check_pull(_world: World, project: Project, _number: int) -> None:
    must(project, PULL)
    project.check_runs()
    if len((project.folder / "files" / "part-00000.csv").read_bytes()) != 4000:
        project.problem("the downloaded output is not whole")


def _check_trials(_world: World, project: Project, _number: int) -> None:
    must(project, EXPERIMENT)
    project.check_trials(TRIALS)
    project.check_runs()


def _check_search(_world: World, project: Project, _number: int) -> None:
    must(project, TUNE)
    project.check_runs()
    project.check_trials(0)


CASES: Mapping[str, Case] = {
    "up": Case(UP, World.new, _check_up),
    "submit": Case(SUBMIT, World.copy, _check_runs),
    "wait": Case(WAIT, _submitted, _check_runs),
    "pull": Case(PULL, _completed, _check_pull),
    "experiment": Case(EXPERIMENT, World.copy, _check_trials),
    "tune": Case(TUNE, World.copy, _check_search),
    "down": Case(DOWN, _deployed, _check_down),
    "submit, runs on S3": Case(SUBMIT, partial(World.copy, shared=True), _check_runs),
    "wait, runs on S3": Case(WAIT, partial(_submitted, shared=True), _check_runs),
    "pull, runs on S3": Case(PULL, partial(_completed, shared=True), _check_pull),
    "experiment, runs on S3": Case(EXPERIMENT, partial(World.copy, shared=True), _check_trials),
}
ON_S3 = tuple(name for name in CASES if name.endswith("S3"))


def _count(world: World, case: Case, points: frozenset[str]) -> int:
    """Return the number of points that the command passes without a fault."""
    project = case.prepare(world)
    result = project.run(case.command, Fault(action="kill", at=0, points=points))
    assert result.code == 0, result.err
    case.check(world, project, 1)
    return len(result.points)


def _add(row: Row, project: Project, where: str) -> None:
    """Add what happened in a project to a row."""
    row.tried += 1
    row.lost += project.lost
    row.left += project.left
    row.problems += [f"{where}: {problem}" for problem in project.problems]


# --- rows -----------------------------------------------------------------------------------------


def at_points(
    world: World, name: str, what: str, action: Action, points: frozenset[str] = EVERY
) -> Row:
    """Let a fault happen at each point of a command."""
    case, row = CASES[name], Row(f"{what}: {name}")
    for number in world.chosen(_count(world, case, points)):
        project = case.prepare(world)
        result = project.run(case.command, Fault(action=action, at=number, points=points))
        where = f"{number} ({result.points[number - 1] if len(result.points) >= number else 'end'})"
        case.check(world, project, number)
        _add(row, project, where)
    return row


def with_network(world: World, name: str, what: str, rules: Sequence[Rule]) -> Row:
    """Run a command while the network follows each of the rules."""
    case, row = CASES[name], Row(f"{what}: {name}")
    for number, rule in enumerate(rules, 1):
        project = case.prepare(world)
        with world.network(rule):
            project.read_timeout_s = _SHORT_S if rule.delay_s else project.read_timeout_s
            project.run(case.command)
        case.check(world, project, number)
        _add(row, project, f"after {rule.after} requests")
    return row


def throttled(world: World, name: str, percent: int) -> Row:
    """Run a command while EMR throttles; it completes, and prints why it takes long."""
    case, row = CASES[name], Row(f"EMR throttles {percent} %: {name}")
    project = case.prepare(world)
    with world.network(Rule(id=0, answer="throttled", service="emr", percent=percent)):
        result = must(project, case.command)
    # At 30 %, some commands are throttled too rarely.
    if percent > 50 and "AWS throttles requests to " not in result.err:
        project.problem(f"no warning about throttling: {result.err[-300:]}")
    case.check(world, project, 1)
    _add(row, project, "once")
    return row


def expired(world: World, name: str) -> Row:
    """Let the credentials expire before each request of a command."""
    total = _count(world, CASES[name], frozenset({REQUEST}))
    rules = [Rule(id=0, answer="expired", after=number - 1) for number in world.chosen(total)]
    return with_network(world, name, "credentials expire", rules)


def lost_responses(world: World, name: str) -> Row:
    """Lose the response to each request of a command, which was executed."""
    total = _count(world, CASES[name], frozenset({REQUEST}))
    rules = [Rule(id=0, answer="lost", after=n - 1, times=1) for n in world.chosen(total)]
    return with_network(world, name, "a response is lost", rules)


def two_clients(world: World, first: str, second: str) -> Row:
    """Run two commands at the same time in one project."""
    row = Row(f"two clients: {first} and {second}")
    one, other = CASES[first], CASES[second]
    for number in world.chosen(3):
        project = one.prepare(world)
        clients = [project.start(one.command), project.start(other.command)]
        for client in clients:
            project.check_message(client.wait())
        one.check(world, project, number)
        _add(row, project, f"try {number}")
    return row


def stopped(world: World, name: str, meanwhile: str) -> Row:
    """Stop a client at each point for longer than every time-out, while another one runs."""
    case, row = CASES[name], Row(f"SIGSTOP: {name}, meanwhile {meanwhile}")
    for number in world.chosen(_count(world, case, EVERY)):
        project = case.prepare(world)
        client = project.start(case.command, Fault(action="stop", at=number))
        if client.wait_stopped():
            project.run(meanwhile)
            client.resume()
        project.check_message(client.wait())
        case.check(world, project, number)
        _add(row, project, f"{number}")
    return row


def rows(world: World) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield the name of each row and the function that fills it."""
    for name in CASES:
        yield f"kill {name}", partial(at_points, world, name, "kill -9", "kill")
    for name, (action, what) in itertools.product(_ON_DISK, _DISK.items()):
        yield f"{action} {name}", partial(at_points, world, name, what, action, WRITES)
    for name, (answer, what) in itertools.product(ON_S3, _NETWORK.items()):
        yield f"{answer} {name}", partial(with_network, world, name, what, _rules(world, answer))
    for name, percent in itertools.product(_ON_EMR, (30, 60)):
        yield f"throttled {name} {percent} %", partial(throttled, world, name, percent)
    for name in _ON_EMR:
        yield f"lost {name}", partial(lost_responses, world, name)
    for name in ("up", "down", *ON_S3):
        yield f"expired {name}", partial(expired, world, name)
    for first, second in _PAIRS:
        yield f"two {first} {second}", partial(two_clients, world, first, second)
    for name in ("submit", "wait", "experiment"):
        yield f"stop {name}", partial(stopped, world, name, "runs")


_ON_DISK = ("up", "submit", "wait", "pull", "experiment", "down")
_DISK: Mapping[Action, str] = {"full": "disk full (ENOSPC)", "no_blocks": "disk full (EFBIG)"}
_ON_EMR = ("up", "submit", "wait", "experiment", "down")
_NETWORK = {
    "unavailable": "S3 answers 503",
    "cut": "S3 cuts bodies",
    "slow": "S3 is slower than the time-out",
}


def _rules(world: World, answer: str) -> list[Rule]:
    """Return faults of S3: of some requests, or of all after a number of them."""
    if answer == "slow":
        delay_s = 1.5 * _SHORT_S
        return [Rule(id=0, answer=answer, service="s3", percent=20, delay_s=delay_s, times=5)]
    rules = [
        Rule(id=0, answer=answer, service="s3", after=number - 1) for number in world.chosen(20)
    ]
    return [Rule(id=0, answer=answer, service="s3", percent=30), *rules]


_PAIRS = (
    ("up", "up"),
    ("submit", "submit"),
    ("wait", "wait"),
    ("pull", "pull"),
    ("wait", "pull"),
    ("experiment", "experiment"),
    ("experiment", "submit"),
    ("down", "down"),
    ("up", "down"),
)
