"""``blobfs unmount``: ends a mount from outside; its daemon notices and ends well."""

import click
import trio

from blobfs.errors import BlobfsError
from blobfs.fuse import mountpoint as mountpoints


@click.command()
@click.option("--lazy", is_flag=True, help="Also while it is in use: open files get a moment to be closed.")
@click.argument("mountpoint", type=click.Path())
def unmount(mountpoint: str, lazy: bool) -> None:
    """Unmount a blobfs mount. Also removes what a daemon that was killed left behind."""
    try:
        trio.run(_unmount, mountpoint, lazy)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error


async def _unmount(mountpoint: str, lazy: bool) -> None:
    await mountpoints.unmount(mountpoint, lazy=lazy)
