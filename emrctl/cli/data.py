"""`emrctl data`: pictures onto the bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.datasets import pets as oxford
from emrctl.datasets import pictures
from emrctl.runs.workspace import Workspace

app = options.new_app()
data_app = typer.Typer(
    cls=options.Group,
    no_args_is_help=True,
    help="Put pictures on the bucket: digits, pets, or a folder of your own.",
)
app.add_typer(data_app, name="data")

PerClassOption = Annotated[
    int | None, typer.Option("--per-class", min=1, help="Only so many pictures of each class.")
]


@data_app.command()
def digits(
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="The data set's name below data/.")] = "digits",
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put the 1,797 handwritten digits that scikit-learn carries on the bucket, as PNG files."""
    _upload(
        options.open_workspace(config, target=target), name, pictures.digits(per_class), as_json
    )


@data_app.command()
def folder(
    path: Annotated[Path, typer.Argument(help="<class>_<n>.jpg in it, or <class>/<file> below.")],
    per_class: PerClassOption = None,
    name: Annotated[str | None, typer.Option(help="The data set's name below data/.")] = None,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put the pictures of a folder on the bucket."""
    found = pictures.folder(path, per_class)
    chosen = name or path.absolute().name.lower()
    _upload(options.open_workspace(config, target=target), chosen, found, as_json)


@data_app.command()
def pets(
    source: Annotated[
        Path | None,
        typer.Argument(help="Your copy, a folder or images.tar.gz; without it, Oxford's."),
    ] = None,
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="The data set's name below data/.")] = "pets",
    yes: options.YesOption = False,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put the 7,390 photographs of 37 breeds on the bucket, downloaded once (792 MB) if need be."""
    workspace = options.open_workspace(config, target=target)
    with oxford.opened(source or _downloaded(yes=yes), per_class) as found:
        _upload(workspace, name, found, as_json)


def _downloaded(*, yes: bool) -> Path:
    """The archive of the data set's authors, in emrctl's cache."""
    if not oxford.archive().is_file():
        mb = oxford.OXFORD.bytes // 1_000_000
        options.confirm(f"Download the Oxford-IIIT Pet Dataset ({mb} MB)?", yes=yes)
    with render.counter("images.tar.gz: bytes", oxford.OXFORD.bytes) as report:
        return oxford.download(report)


def _upload(workspace: Workspace, name: str, found: list[pictures.Picture], as_json: bool) -> None:
    from emrctl import provision

    bucket = provision.find_bucket(workspace.project, workspace.target)
    with render.counter(f"{pictures.known_name(name)}: pictures", len(found)) as report:
        done = pictures.upload(workspace.target, bucket, name, found, report)
    render.data_set(done, as_json=as_json)
