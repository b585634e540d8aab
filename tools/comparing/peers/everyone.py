"""Who is compared, by what they can do."""

from tools.comparing.peers.blobfs import Blobfs
from tools.comparing.peers.ext4 import Ext4
from tools.comparing.peers.peer import Peer

LOADING: tuple[Peer, ...] = (Blobfs(),)
"""They bring what is missing from a web server, and keep it."""
LOCAL: tuple[Peer, ...] = (Ext4(),)
"""They show what is on a disk here; sshfs, of a disk that could be elsewhere."""
