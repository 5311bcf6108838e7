"""`emrctl data`: upload images to the bucket."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emrctl import datasets
from emrctl.cli import options, render

app = options.new_app()
data_app = options.add_group(app, "data", "Upload images to the bucket.")

PerClassOption = Annotated[
    int | None, typer.Option("--per-class", min=1, help="Maximum number of images per class.")
]


@data_app.command()
@options.common("config target json")
def digits(
    context: options.Context,
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="Name of the data set below data/.")] = "digits",
) -> None:
    """Upload scikit-learn's 1,797 images of handwritten digits as PNG files."""
    _upload(context, name, datasets.digits(per_class))


@data_app.command()
@options.common("config target json")
def folder(
    context: options.Context,
    path: Annotated[Path, typer.Argument(help="Folder with <class>_<n>.jpg or <class>/<file>.")],
    per_class: PerClassOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set below data/.")] = None,
) -> None:
    """Upload the images of a folder."""
    images = datasets.folder(path, per_class)
    _upload(context, name or path.absolute().name.lower(), images)


@data_app.command()
@options.common("config target yes json")
def pets(
    context: options.Context,
    source: Annotated[
        Path | None, typer.Argument(help="Folder or images.tar.gz; downloaded by default.")
    ] = None,
    per_class: PerClassOption = None,
    name: Annotated[str, typer.Option(help="Name of the data set below data/.")] = "pets",
) -> None:
    """Upload the Oxford-IIIT Pet Dataset: 7,390 photographs of 37 breeds (792 MB)."""
    with datasets.open_pictures(source or _download(context), per_class) as images:
        _upload(context, name, images)


def _download(context: options.Context) -> Path:
    """Return the authors' archive, downloaded into emrctl's cache if necessary."""
    if not datasets.pets_archive().is_file():
        mb = datasets.OXFORD_PETS.bytes // 1_000_000
        context.confirm(f"Download the Oxford-IIIT Pet Dataset ({mb} MB)?")
    with render.counter("images.tar.gz: bytes", datasets.OXFORD_PETS.bytes) as report:
        return datasets.download_pets(report)


def _upload(context: options.Context, name: str, images: list[datasets.PictureFile]) -> None:
    from emrctl.provision.bucket import find_bucket

    workspace = context.workspace
    bucket = find_bucket(workspace.project, workspace.target)
    with render.counter(f"{datasets.check_name(name)}: images", len(images)) as report:
        data_set = datasets.upload(workspace.target, bucket, name, images, report)
    if context.as_json:
        render.json_document(asdict(data_set))
        return
    count, classes = sum(data_set.classes.values()), len(data_set.classes)
    render.note(f"{count} images in {classes} classes, {data_set.sent} uploaded.")
    typer.echo(data_set.uri)
