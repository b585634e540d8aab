"""Files by their content: an inode stands for one version, and another version gets another inode."""

from blobfs.vfs.nodes import Container, Content, FileNode, Node, PlainContent, Settled
from blobfs.vfs.state import MountState


def file_node(
    state: MountState, directory: Container, component: str, known: Node | None, content: Content
) -> FileNode:
    """The node of this content at a place: `known`, which stands there, if it has this very version."""
    if isinstance(known, FileNode) and _is_same_version(known.settle(), content):
        known.content = content
        return known
    node = FileNode(state.inodes.next_inode(), content=content)
    state.inodes.add(node, directory, component)
    return node


def _is_same_version(known: Content, found: Content) -> bool:
    match known, found:
        case Settled(before), Settled(after):
            return before.blob == after.blob and before.size == after.size
        case PlainContent(before_file, before_peer), PlainContent(after_file, after_peer):
            return before_file == after_file and before_peer is after_peer
    return False
