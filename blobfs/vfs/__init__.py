"""What the mount means: names, inodes, handles, views, xattrs. Knows no kernel."""
