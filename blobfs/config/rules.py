"""What does not go together. Each rule tells the setting that is too much, where it stands."""

import grp
import os
from collections.abc import Iterator
from itertools import chain

from blobfs.config.addresses import parse_address
from blobfs.config.catalogue import CATALOGUE, DEFAULT_STORE
from blobfs.config.files import file_problem, holds_key
from blobfs.config.kinds import FilePath
from blobfs.config.layers import Given, Merged, Mistake, Origin
from blobfs.config.settings import PASSED_SOCKET, FileRole
from blobfs.config.share_rules import share_mistakes
from blobfs.model import Invalid


def find_mistakes(merged: Merged) -> Iterator[Mistake]:
    """Everything that keeps a node with these settings from being one."""
    return chain(
        _wrong_files(merged),
        share_mistakes(merged.shares),
        _wrong_serving(merged),
        _wrong_listening(merged),
        _wrong_control(merged),
        _wrong_places(merged),
    )


def _wrong_files(merged: Merged) -> Iterator[Mistake]:
    for key, given in merged.values.items():
        kind = CATALOGUE[key].kind
        if isinstance(kind, FilePath) and kind.role is not None:
            yield from _wrong_file(given, kind.role)


def _wrong_file(given: Given, role: FileRole) -> Iterator[Mistake]:
    problem = file_problem(given.value, role)
    if problem is not None:
        yield Mistake(given.origin, problem)


def _wrong_serving(merged: Merged) -> Iterator[Mistake]:
    certificate = merged.get("serve.certificate")
    for key in ("serve.key", "serve.client_ca"):
        if merged.get(key) and not merged.is_set("serve.certificate"):
            yield Mistake(merged.origin(key), "is for TLS, and there is no serve.certificate")
    if certificate and not merged.is_set("serve.key") and not holds_key(certificate):
        yield Mistake(
            merged.origin("serve.certificate"), f"no private key is in {certificate}, and no serve.key is set"
        )
    if not merged.is_set("serve.listen"):
        for key in ("serve.certificate", "serve.token_file"):
            if merged.get(key):
                yield Mistake(merged.origin(key), "is for serving, and serve.listen says nowhere where")


def _wrong_listening(merged: Merged) -> Iterator[Mistake]:
    serving, reading = merged.get("serve.listen"), merged.get("control.listen")
    if serving is not None and serving != PASSED_SOCKET:
        if not serving.startswith("unix:"):
            yield from _wrong_address(merged.origin("serve.listen"), serving)
        elif serving == "unix:":
            yield Mistake(merged.origin("serve.listen"), "expected the path of a socket behind unix:")
    if reading is None:
        return
    if reading == PASSED_SOCKET or reading.startswith("unix:"):
        text = "expected HOST:PORT: a socket of its own the node has anyway"
        yield Mistake(merged.origin("control.listen"), text)
    else:
        yield from _wrong_address(merged.origin("control.listen"), reading)
    if reading == serving and not reading.endswith(":0"):
        yield Mistake(merged.origin("control.listen"), f"{reading} is where the share is served")


def _wrong_address(origin: Origin, text: str) -> Iterator[Mistake]:
    try:
        parse_address(text)
    except Invalid as wrong:
        yield Mistake(origin, str(wrong))


def _wrong_control(merged: Merged) -> Iterator[Mistake]:
    group = merged.get("control.group")
    if group is None:
        return
    try:
        grp.getgrnam(group)
    except KeyError:
        yield Mistake(merged.origin("control.group"), f"there is no group {group!r} on this machine")


def _wrong_places(merged: Merged) -> Iterator[Mistake]:
    """Of the store and the mountpoint. As they are spelled; links are followed when the node starts."""
    mountpoint = merged.get("mountpoint")
    if mountpoint is None:
        return
    store = os.path.abspath(merged.get("store", DEFAULT_STORE))
    target = os.path.abspath(mountpoint)
    above = os.path.commonpath([store, target])
    place = merged.origin("store" if "store" in merged.values else "mountpoint")
    if above == target:
        yield Mistake(place, f"the store {store} would be hidden below the mountpoint {target}")
    elif above == store:
        yield Mistake(place, f"the mountpoint {target} is inside the store {store}")
