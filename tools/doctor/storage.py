"""What a line needs of disks: folders that can be written, with room, and files of secrets that only it can read."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding
from spade_edge.tools.hardware.host import Host

LONGEST = 4096  # characters of a secret
VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs")


def folder(
    kind: str, name: str, path: Path, host: Host, *, needs: int = 0, keeps: bool = True, makes: int | None = None
) -> list[Finding]:
    """Whether a folder can be written, on which file system, and with how much room.

    Args:
        kind: of the finding.
        name: of the finding.
        path: of the folder; it may be missing if it can be made.
        host: the machine.
        needs: bytes that will be written there in the long run; 0 if it is not known.
        keeps: whether what is written must outlast a restart of the machine.
        makes: how many folders the service makes itself, the last ones of the path; None for any number.
    """
    lacks, there = next(place for place in enumerate((path, *path.parents)) if os.path.lexists(place[1]))
    if not there.is_dir():
        return [Finding(kind, name, PROBLEM, f"{there} is no folder", "choose another folder, or move it away")]
    if not os.access(there, os.W_OK | os.X_OK):
        found = f"this user may not write to {there}"
        return [Finding(kind, name, PROBLEM, found, f"sudo chown {user()} {there}, or choose another folder")]
    if makes is not None and lacks > makes:
        missing = (path, *path.parents)[makes]
        remedy = f"mount its disk, or mkdir -p {missing}"
        return [Finding(kind, name, PROBLEM, f"{missing} is not there, and the service does not make it", remedy)]
    filesystem = filesystem_of(there, host)
    free, used = shutil.disk_usage(there).free, size_of(path) if needs else 0
    told = f"{path}, {gigabytes(free)} free" + (f", {filesystem}" if filesystem else "")
    told += "" if there == path else "; it will be made"
    findings = [Finding(kind, name, OK, told)]
    if needs and free + used < needs:
        findings = [
            Finding(
                kind,
                name,
                PROBLEM,
                f"{told}, of the {gigabytes(needs)} that it may take",
                "let it take less (its budget, or rotate and keep), free the disk, or choose another one",
            )
        ]
    if keeps and filesystem in VOLATILE:
        found = f"{there} is in memory ({filesystem}): what is kept there is lost when the machine restarts"
        findings.append(Finding(kind, f"{name} file system", PROBLEM, found, "choose a folder on a disk"))
    elif filesystem in REMOTE:
        found = f"{there} is on the network ({filesystem}): it can hang or vanish"
        findings.append(Finding(kind, f"{name} file system", NOTE, found, "choose a folder on a disk of this machine"))
    return findings


def secret(kind: str, name: str, path: Path) -> list[Finding]:
    """Whether a file of a secret can be read, by this user and by no other."""
    try:
        mode = path.stat().st_mode
    except OSError as problem:
        found = f"{path}: {(problem.strerror or str(problem)).lower()}"
        return [Finding(kind, name, PROBLEM, found, "write the secret into its first line, and chmod 600 it")]
    if not stat.S_ISREG(mode):
        return [Finding(kind, name, PROBLEM, f"{path} is no file", "give a file with the secret in its first line")]
    if not os.access(path, os.R_OK):
        return [Finding(kind, name, PROBLEM, f"{path}: this user may not read it", f"sudo chown {user()} {path}")]
    if mode & stat.S_IRWXO:
        return [Finding(kind, name, PROBLEM, f"{path}: every user may read or change it", f"chmod 600 {path}")]
    return [Finding(kind, name, OK, f"{path} is only for its owner{' and group' if mode & stat.S_IRWXG else ''}")]


def password(kind: str, name: str, path: Path) -> list[Finding]:
    """The same for a file whose first line is a password or a token."""
    findings = secret(kind, name, path)
    if findings[0].state == OK and first_line(path) is None:
        return [
            Finding(
                kind,
                name,
                PROBLEM,
                f"{path}: its first line is no text of 1 to {LONGEST} characters",
                "write the secret into its first line",
            )
        ]
    return findings


def first_line(path: Path) -> str | None:
    """The secret of a file; None if it has none."""
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(LONGEST + 2).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return line if line and len(line) <= LONGEST and line.isprintable() else None


def filesystem_of(path: Path, host: Host) -> str:
    """The kind of file system that a path is on, such as "ext4"; "" if it is not known."""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in (host.text("proc/self/mountinfo") or "").splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


def size_of(path: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for where, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(where) / name).lstat().st_size
            except OSError:  # removed meanwhile
                continue
    return total


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def user() -> str:
    """The name of this user, for a remedy."""
    return os.environ.get("USER") or "USER"
