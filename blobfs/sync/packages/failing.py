"""An error of one of many things, with the name of the thing."""

from blobfs import errors


def naming(what: str, error: errors.BlobfsError) -> errors.BlobfsError:
    """The same error of a named thing, chained to it: ``bin/tool: no share has it``."""
    message = f"{what}: {error}"
    if isinstance(error, errors.LoadFailed):
        named: errors.BlobfsError = type(error)(message, error.attempts)
    else:
        named = type(error)(message)
    named.__cause__ = error
    return named
