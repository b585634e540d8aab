"""A store is worked on as its owner, also by root.

Who owns it can put a link wherever a file of it is: root would write through it. And what root makes in it,
its daemon could not change.
"""

import os
import pwd
from pathlib import Path


def become_owner(store: Path) -> None:
    """For good, in the whole process. Does nothing for a store that is one's own, or not there, and for who
    is not root."""
    if os.geteuid() != 0:
        return
    try:
        found = store.stat()
    except OSError:
        return  # whoever opens it says why that cannot be done
    if found.st_uid == 0:
        return
    try:
        account = pwd.getpwuid(found.st_uid)
    except KeyError:
        os.setgroups([])
        os.setgid(found.st_gid)
    else:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
    os.setuid(found.st_uid)
