"""Does a file lie on a network? SQLite's locks and its shared memory do not work there: two writers would corrupt the database."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# 9p is not among them: it is also how sandboxes and virtual machines show the disk of the machine they run on.
NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "coda", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "pvfs2", "davfs"),
    *("fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.juicefs", "fuse.JuiceFS", "fuse.mfs"),
    *("fuse.s3fs", "fuse.mount-s3", "fuse.mountpoint-s3", "fuse.goofys", "fuse.gcsfuse", "fuse.blobfuse", "fuse.blobfuse2"),
    *("fuse.davfs", "fuse.davfs2", "fuse.curlftpfs", "fuse.smbnetfs", "fuse.gvfsd-fuse", "fuse.lizardfs", "fuse.seaweedfs"),
}
ESCAPED = re.compile(r"\\([0-7]{3})")  # how the table writes a space, a tab, a newline and a backslash


def network_filesystem(path: Path, table: str | None = None) -> str | None:
    """The type of the network file system that `path` is or will be on; None for a local one, and where there is no mount table.
    `table` is in the format of /proc/self/mountinfo."""
    if table is None:
        try:
            table = MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    kind, longest = "", -1
    wanted = path.resolve()
    for line in table.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        place = ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        if wanted.is_relative_to(place) and len(place) >= longest:  # of two mounts on one place the later one is seen
            kind, longest = after.split(" ")[0], len(place)
    return kind if kind in NETWORK else None
