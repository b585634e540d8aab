"""What manual pages say and no help does: environment, files, exit codes, examples, what else to read."""

from collections.abc import Mapping, Sequence

Sections = Mapping[str, str | Sequence[tuple[str, str]]]

OVERVIEW = """Writing a file in a mounted directory shares it; reading one that is not on this machine
loads it, on demand, from the shares that the node knows, verifies it, and keeps it. Any program uses it by
plain file operations.

`blobfs mount` runs a node. The other commands ask a running node over a socket in its store, never its
mount: they answer also when the mount is stuck, the shares are dead, or the disk is full."""

_EXIT = [
    ("0", "It is done."),
    ("1", "It failed. What went wrong is one line on standard error."),
    ("2", "Wrong usage, or a configuration that is refused: one line for each mistake."),
]
_INTERRUPTED = ("130", "It was interrupted. What has been done stays; the same command does the rest.")

_EXITS: Mapping[str, Sequence[tuple[str, str]]] = {
    "blobfs-load": [
        ("0", "All of it is here."),
        ("1", "Something could not be loaded, the rest is here; or the node cannot be asked."),
        _EXIT[2],
        _INTERRUPTED,
    ],
    "blobfs-pack": [
        ("0", "It is published, or was already."),
        ("1", "It is not published."),
        _EXIT[2],
        _INTERRUPTED,
    ],
    "blobfs-verify": [
        ("0", "Nothing is wrong, or all of it is mended."),
        ("1", "Something wrong is left; or the store cannot be verified."),
        _EXIT[2],
    ],
    "blobfs-why": [
        ("0", "It is shown, also when nothing is known."),
        ("1", "The node cannot be asked."),
        ("2", "Wrong usage, or that is no name."),
    ],
    "blobfs-status": [
        ("0", "It is shown."),
        ("1", "A node cannot be asked; the others are shown."),
        _EXIT[2],
    ],
    "blobfs-config": [
        ("0", "Nothing is wrong."),
        ("1", "Something is wrong with a file: one line for each mistake."),
        _EXIT[2],
    ],
}

_TERMINAL = [
    ("NO_COLOR", "If it is set, what is drawn on a terminal has no colours."),
    ("TERM", "If it is `dumb`, nothing is drawn over itself; lines follow each other."),
    ("COLUMNS", "How wide lines may be where that cannot be asked."),
]
_CREDENTIALS = (
    "CREDENTIALS_DIRECTORY",
    "Where systemd puts what `LoadCredential=` names; a file that is set to credential:NAME is found there.",
)
_NODE_ENVIRONMENT = [
    ("http_proxy, https_proxy, all_proxy, no_proxy", "The proxy that shares are asked through."),
    _CREDENTIALS,
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd, which is told of readiness, state and life."),
    ("LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES", "Set by systemd, which passes sockets and the mount."),
]
_COMPLETION = [("_BLOBFS_COMPLETE", "Set by a shell that completes a command line.")]

_ENVIRONMENTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "blobfs": [*_NODE_ENVIRONMENT, *_TERMINAL, *_COMPLETION],
    "blobfs-mount": _NODE_ENVIRONMENT,
    "blobfs-serve": [_CREDENTIALS, _NODE_ENVIRONMENT[3]],
    "blobfs-status": _TERMINAL,
    "blobfs-load": _TERMINAL,
    "blobfs-pin": _TERMINAL,
    "blobfs-pack": _TERMINAL,
    "blobfs-verify": _TERMINAL,
    "blobfs-completion": _COMPLETION,
}

_STORE = [
    ("/var/lib/blobfs", "The store, unless another one is named."),
    ("STORE/share/", "What is shared: complete, verified files. Any web server may export it."),
    ("STORE/control", "The socket that the other commands ask."),
    ("STORE/log", "The log of a node that was started with `--background`."),
]
_CONFIGURATION = [("/etc/blobfs/NAME.toml", "The configuration of the service `blobfs@NAME`.")]

_FILES: Mapping[str, Sequence[tuple[str, str]]] = {
    "blobfs": [*_CONFIGURATION, *_STORE],
    "blobfs-mount": [*_CONFIGURATION, *_STORE],
    "blobfs-config": _CONFIGURATION,
    "blobfs-serve": [*_CONFIGURATION, *_STORE[:2]],
}

_EXAMPLES: Mapping[str, str] = {
    "blobfs": """
        A directory that loads from one share, and shares what is written to it:

        \b
            blobfs mount --background --store ~/store --share http://server/ \\
                --listen 0.0.0.0:8970 ~/mnt
            cat ~/mnt/models/a.gguf | wc -c
            cp result.txt ~/mnt/
            blobfs status --watch ~/mnt
            blobfs unmount ~/mnt
    """,
    "blobfs-load": """
        All that is below a directory, and a package by its name:

        \b
            blobfs load /mnt/models checkpoints/7b tools/compiler
    """,
    "blobfs-status": """
        The shares that are down, for a program:

        \b
            blobfs status --json /mnt | jq -r '.shares[] | select(.down).url'
    """,
    "blobfs-verify": """
        Mend a store while its node does not run:

        \b
            systemctl stop blobfs@models
            blobfs verify --repair --share http://server/ /var/lib/blobfs/models
            systemctl start blobfs@models
    """,
    "blobfs-why": """
        Why does reading it fail?

        \b
            blobfs why /mnt models/a.gguf
    """,
}

_ALSO: Mapping[str, Sequence[str]] = {
    "blobfs": ["mount(8)", "fstab(5)", "fuse(4)", "systemd.service(5)"],
    "blobfs-mount": ["blobfs-config(1)", "blobfs-unmount(1)", "blobfs-status(1)", "mount(8)", "fstab(5)"],
    "blobfs-unmount": ["blobfs-mount(1)", "umount(8)", "fusermount3(1)"],
    "blobfs-load": ["blobfs-pin(1)", "blobfs-why(1)"],
    "blobfs-pin": ["blobfs-unpin(1)", "blobfs-evict(1)", "blobfs-load(1)"],
    "blobfs-unpin": ["blobfs-pin(1)", "blobfs-evict(1)"],
    "blobfs-evict": ["blobfs-pin(1)", "blobfs-load(1)"],
    "blobfs-status": ["blobfs-why(1)"],
    "blobfs-abort": ["blobfs-unmount(1)", "fuse(4)"],
    "blobfs-reload": ["blobfs-config(1)", "blobfs-mount(1)"],
    "blobfs-why": ["blobfs-status(1)"],
    "blobfs-id": ["sha256sum(1)"],
    "blobfs-config": ["blobfs-mount(1)"],
    "blobfs-serve": ["blobfs-mount(1)", "nginx(8)"],
}


def sections_of(page: str) -> Sections:
    """By their headings, in the order in which they stand."""
    found: dict[str, str | Sequence[tuple[str, str]]] = {"EXIT STATUS": _EXITS.get(page, _EXIT)}
    for heading, texts in (("ENVIRONMENT", _ENVIRONMENTS), ("FILES", _FILES), ("EXAMPLES", _EXAMPLES)):
        if page in texts:
            found[heading] = texts[page]
    also = [] if page == "blobfs" else ["blobfs(1)"]
    found["SEE ALSO"] = ", ".join(f"`{each[:-3]}`{each[-3:]}" for each in [*also, *_ALSO.get(page, [])])
    return found
