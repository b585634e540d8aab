"""Who is compared, by what they can do."""

from tools.comparing.peers.bindfs import Bindfs
from tools.comparing.peers.blobfs import Blobfs
from tools.comparing.peers.downloads import DOWNLOADS
from tools.comparing.peers.ext4 import Ext4
from tools.comparing.peers.fsspec_mount import FsspecMount
from tools.comparing.peers.httpdirfs import Httpdirfs
from tools.comparing.peers.peer import Named, Peer, Writer
from tools.comparing.peers.rclone import Rclone
from tools.comparing.peers.sshfs import Sshfs

LOADING: tuple[Peer, ...] = (Blobfs(), Rclone(), Httpdirfs(), FsspecMount())
"""They bring what is missing from a web server, and keep it."""
LOCAL: tuple[Peer, ...] = (Ext4(), Bindfs(), Sshfs())
"""They show what is on a disk here; sshfs, of a disk that could be elsewhere."""
WRITERS: tuple[Writer, ...] = (Blobfs(), Ext4(), Bindfs(), Sshfs(), Rclone())
EVERYONE: tuple[Named, ...] = (*LOADING, *LOCAL, *DOWNLOADS)
