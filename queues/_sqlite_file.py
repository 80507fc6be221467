"""The file of a queue: whether it is safe to open, and whose it is. Nothing in a file that is refused is changed."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ._sqlite_errors import ERRORS, meaning, primary_code
from .errors import ConfigurationError
from .url import QueueURL

log: Final = logging.getLogger("notification.queues")

APPLICATION_ID = 0x4E445131
"""`NDQ1` in the header of a file says that it is ours."""
VERSION = 1
"""Of the schema; `user_version` in the header."""
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "ocfs2"}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def path_of(url: QueueURL) -> Path:
    """The file that a URL names: three slashes and a relative path, or four and an absolute one."""
    if url.hosts:
        raise ConfigurationError(f"{url}: write sqlite:///{url.hosts[0]}{url.path} for a file in this directory")
    name = url.path.removeprefix("/")
    if not name or name.endswith("/"):
        raise ConfigurationError(f"{url} names no file; write sqlite:///events.db or sqlite:////var/lib/app/events.db")
    if name == ":memory:" or "\0" in name:
        raise ConfigurationError(f"{url} names no file; a queue in memory is channel://")
    return Path(os.path.abspath(name))


def prepare(path: Path) -> None:
    """Make the file if there is none, readable by nobody else. Raises ConfigurationError for an unsafe place."""
    _check_directory(path.parent)
    try:
        # O_EXCL: never through a symlink, and never a file that another process has just made
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"{path} can't be created: {error.strerror}") from error
    _check_file(path)
    for suffix in ("-wal", "-shm", "-journal"):
        beside = Path(f"{path}{suffix}")
        if beside.is_symlink():
            raise ConfigurationError(f"{beside} is a symbolic link; remove it")
    if kind := network_file_system(path.parent):
        log.warning(
            "%s is on %s: SQLite's locks and shared memory don't work between machines",
            path, kind, extra={"path": str(path)},
        )  # fmt: skip


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory; create it, or name another one in the URL")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{directory} is not ours to write; SQLite keeps files beside its database")


def _check_file(path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(f"{path} is a symbolic link; name the file that it points to")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is no regular file")
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"{path} can be written by everyone; run `chmod o-w {path}`")


def check_header(path: Path) -> None:
    """Refuse a file that is another program's, a newer version's, damaged or cut. Reads it and nothing beside it."""
    size = path.stat().st_size
    if size == 0 or _exists(path, "-journal"):
        return  # new, or SQLite has to repair it first; `check_owner` looks again
    recovers = _exists(path, "-wal")
    # immutable: no locks, no recovery, no -wal and -shm files, whatever kind of database it is
    uri = f"file:{quote(str(path))}?immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            check_owner(connection, path)
            page: int = connection.execute("PRAGMA page_size").fetchone()[0]
    except ERRORS as error:
        if recovers and primary_code(error) == sqlite3.SQLITE_CORRUPT:
            return  # a process was killed while it copied from the -wal file, where everything still is
        raise meaning(error, path, opening=True) from error
    if size % page and not recovers:
        raise ConfigurationError(
            f"{path} is cut short: {size} bytes are no whole pages; restore a copy, or run "
            "`sqlite3 FILE .recover` to save what is left"
        )


def check_owner(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version, 0 for an empty database. Raises ConfigurationError for one that we can't work with."""
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
    )
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise ConfigurationError(f"{path} is the database of another program; name another file in the URL")
    if version > VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer version of this library (schema {version}, this one knows {VERSION}); "
            "upgrade, or name another file"
        )
    return int(version)


def _exists(path: Path, suffix: str) -> bool:
    try:
        return os.stat(f"{path}{suffix}").st_size > 0
    except OSError:
        return False


def boot_id() -> str:
    """Names this boot of the machine: monotonic times of another one mean nothing."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        pass
    try:
        # macOS and the BSDs
        answer = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.boottime"], capture_output=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return sys.platform
    return answer.stdout.decode("ascii", "replace").strip()


def network_file_system(directory: Path, mounts: str | None = None) -> str | None:
    """The kind of network file system that a directory is on, None for a local one or where the system can't say."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text("utf-8", "replace")
        except OSError:
            return None
    place = f"{directory.resolve()}/"
    found, longest = "", -1
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ").rstrip("/") + "/"
        if place.startswith(point) and len(point) >= longest:
            found, longest = kind, len(point)
    return found if found in _NETWORK else None
