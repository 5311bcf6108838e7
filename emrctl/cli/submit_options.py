"""What `emrctl submit` takes beside the project: the job, Spark's settings, how to follow it."""

from __future__ import annotations

from typing import Annotated

import typer

_PARTITIONS = (
    "Sets spark.default.parallelism and spark.sql.shuffle.partitions. emrctl's own jobs pass it on "
    "where Spark would not; your own must do so too: sc.wholeTextFiles and sc.binaryFiles "
    "stay at 2 unless they get minPartitions=sc.defaultParallelism."
)

JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A name of emrctl.yaml or jobs/, a .py file, or s3://…",
        show_default=False,
    ),
]
ArgumentsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ARGS]...",
        help="The job's own; {run} is the run's s3:// prefix, {bucket} the bucket.",
    ),
]
ExecutorsOption = Annotated[int | None, typer.Option(min=1, help="--num-executors.")]
ExecutorCoresOption = Annotated[int | None, typer.Option(min=1, help="Cores of each.")]
ExecutorMemoryOption = Annotated[str | None, typer.Option(help="Heap of each: 4g, 4743M.")]
MemoryOverheadOption = Annotated[str | None, typer.Option(help="Memory beside it: 1g.")]
DriverMemoryOption = Annotated[str | None, typer.Option(help="Heap of the driver: 2g.")]
PartitionsOption = Annotated[int | None, typer.Option(min=1, help=_PARTITIONS)]
DynamicAllocationOption = Annotated[
    bool | None,
    typer.Option("--dynamic-allocation/--no-dynamic-allocation", help="EMR's default is on."),
]
MinExecutorsOption = Annotated[int | None, typer.Option(min=0, help="With dynamic allocation.")]
MaxExecutorsOption = Annotated[int | None, typer.Option(min=1, help="With dynamic allocation.")]
DeployModeOption = Annotated[
    str | None,
    typer.Option(help="client (EMR's default: the driver on the primary) or cluster."),
]
ConfOption = Annotated[list[str] | None, typer.Option(help="A Spark setting, KEY=VALUE.")]
EnvOption = Annotated[
    list[str] | None,
    typer.Option(help="A variable of driver and executors, KEY=VALUE. No place for secrets."),
]
PyFilesOption = Annotated[
    list[str] | None, typer.Option(help="Python files, zips or folders beside the job.")
]
TagOption = Annotated[list[str] | None, typer.Option(help="A tag of the run, KEY=VALUE.")]
RepeatOption = Annotated[int, typer.Option(min=1, help="Run it so many times, one after another.")]
TimeoutOption = Annotated[float | None, typer.Option(help="Stop waiting after so many seconds.")]
DetachOption = Annotated[bool, typer.Option(help="Do not wait; `emrctl wait` does it later.")]
