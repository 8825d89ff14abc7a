"""Archives that are the same bytes whenever and wherever they are made: one order, one time, nobody's name."""

import gzip
import io
import tarfile
import time
import zipfile

# The least that a zip can say, 1980.
ZIP_EPOCH_MIN = 315532800


def tar_gz(files, epoch):
    """`files` is {path: (bytes, mode)}. The folders above them are there too, as Debian wants them."""
    return gzipped(tar(files, epoch))


def tar(files, epoch):
    folders = {folder for path in files for folder in parents(path)}
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in sorted(folders | set(files)):
                entry = tarfile.TarInfo(path)
                entry.mtime, entry.uname, entry.gname = epoch, "root", "root"
                if path in files:
                    data, entry.mode = files[path]
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
                else:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
        return buffer.getvalue()


def parents(path):
    parts = path.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)) if parts[count] not in ("", "."))


def gzipped(data):
    return gzip.compress(data, 6, mtime=0)


def zipped(files, epoch):
    """In the order of `files`."""
    moment = time.gmtime(max(epoch, ZIP_EPOCH_MIN))[:6]
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, (data, mode) in files.items():
                entry = zipfile.ZipInfo(path, moment)
                entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
                entry.external_attr = (0o100000 | mode) << 16
                archive.writestr(entry, data, compresslevel=6)
        return buffer.getvalue()
