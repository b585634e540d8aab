"""``python -m blobfs`` is the command ``blobfs``."""

from blobfs.cli.main import main

main(prog_name="blobfs")
