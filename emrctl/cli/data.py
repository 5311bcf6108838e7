"""`emrctl data`: pictures onto the bucket."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.datasets import pets as oxford
from emrctl.datasets import pictures

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
@options.common("config target json")
def digits(
    context: options.Context,
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="The data set's name below data/.")] = "digits",
) -> None:
    """Put the 1,797 handwritten digits that scikit-learn carries on the bucket, as PNG files."""
    _upload(context, name, pictures.digits(per_class))


@data_app.command()
@options.common("config target json")
def folder(
    context: options.Context,
    path: Annotated[Path, typer.Argument(help="<class>_<n>.jpg in it, or <class>/<file> below.")],
    per_class: PerClassOption = None,
    name: Annotated[str | None, typer.Option(help="The data set's name below data/.")] = None,
) -> None:
    """Put the pictures of a folder on the bucket."""
    found = pictures.folder(path, per_class)
    chosen = name or path.absolute().name.lower()
    _upload(context, chosen, found)


@data_app.command()
@options.common("config target yes json")
def pets(
    context: options.Context,
    source: Annotated[
        Path | None,
        typer.Argument(help="Your copy, a folder or images.tar.gz; without it, Oxford's."),
    ] = None,
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="The data set's name below data/.")] = "pets",
) -> None:
    """Put the 7,390 photographs of 37 breeds on the bucket, downloaded once (792 MB) if need be."""
    with oxford.open_pictures(source or _download(context), per_class) as found:
        _upload(context, name, found)


def _download(context: options.Context) -> Path:
    """Return the authors' archive, downloaded into emrctl's cache if necessary."""
    if not oxford.archive().is_file():
        mb = oxford.OXFORD.bytes // 1_000_000
        context.confirm(f"Download the Oxford-IIIT Pet Dataset ({mb} MB)?")
    with render.counter("images.tar.gz: bytes", oxford.OXFORD.bytes) as report:
        return oxford.download(report)


def _upload(context: options.Context, name: str, found: list[pictures.PictureFile]) -> None:
    from emrctl.provision.bucket import find_bucket

    workspace = context.workspace
    bucket = find_bucket(workspace.project, workspace.target)
    with render.counter(f"{pictures.check_name(name)}: pictures", len(found)) as report:
        done = pictures.upload(workspace.target, bucket, name, found, report)
    if context.as_json:
        render.json_document(asdict(done))
        return
    count = sum(done.classes.values())
    render.note(f"{count} images in {len(done.classes)} classes, {done.sent} uploaded.")
    typer.echo(done.uri)
