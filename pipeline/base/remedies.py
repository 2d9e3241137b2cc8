"""What to do about each kind of error that a library or the system raises.

Kinds are looked up by name, from the class itself to its bases, so that no library is loaded for it.
"""

from __future__ import annotations

import errno

_DAMAGED = "The file is damaged or of another kind than its name says: get it again, or convert it."
_MEMORY = "Take fewer rows or draws at a time, or lower train.batch_size or sample.batch_size."
_NETWORK = "Check the network and the address and run it again, or set DATA_MIRROR to a folder that holds the files."
_PREFECT = "Start the server with `make serve`, or unset PREFECT_API_URL: a run then starts a server of its own."

REMEDIES = {
    "builtins.MemoryError": _MEMORY,
    "torch.OutOfMemoryError": "The device's memory ran out. " + _MEMORY,
    "builtins.RecursionError": "The input is nested too deeply: flatten it.",
    "builtins.UnicodeDecodeError": "Text must be UTF-8: save the file in this encoding.",
    "builtins.UnicodeEncodeError": "Use a UTF-8 locale, e.g. LC_ALL=C.UTF-8.",
    "builtins.ModuleNotFoundError": "Install the missing package: pip install 'biglearn[workflow,demo]' has all.",
    "builtins.ImportError": "Install the package again: pip install --force-reinstall with the name of the package.",
    "builtins.EOFError": _DAMAGED,
    "struct.error": _DAMAGED,
    "zlib.error": _DAMAGED,
    "_lzma.LZMAError": _DAMAGED,
    "zipfile.BadZipFile": _DAMAGED,
    "tarfile.TarError": _DAMAGED,
    "json.decoder.JSONDecodeError": _DAMAGED,
    "csv.Error": _DAMAGED,
    "_csv.Error": _DAMAGED,
    "xml.etree.ElementTree.ParseError": _DAMAGED,
    "PIL.UnidentifiedImageError": _DAMAGED,
    "PIL.Image.DecompressionBombError": "Scale the image down first.",
    "pyarrow.lib.ArrowException": _DAMAGED,
    "pandas.errors.EmptyDataError": "The table must have a header and rows.",
    "pandas.errors.ParserError": _DAMAGED,
    "safetensors_rust.SafetensorError": _DAMAGED,
    "safetensors._safetensors_rust.SafetensorError": _DAMAGED,
    "sqlite3.Error": "Set PREFECT_HOME to a folder of its own, or end what else uses the database.",
    "yaml.error.YAMLError": "Correct the YAML at the place named.",
    "omegaconf.errors.OmegaConfBaseException": "params.yaml names every parameter, with its range.",
    "dvc.exceptions.DvcException": "`dvc status` shows the project as DVC sees it, `biglearn doctor` what is missing.",
    "prefect.exceptions.PrefectException": _PREFECT,
    "httpx.HTTPError": _PREFECT,
    "requests.exceptions.RequestException": _NETWORK,
    "urllib.error.URLError": _NETWORK,
    "ssl.SSLError": _NETWORK,
    "socket.gaierror": "The name or address must be known here, e.g. 127.0.0.1, ::1 or localhost.",
    "subprocess.CalledProcessError": "Run that command by itself to see what it says.",
    "subprocess.TimeoutExpired": "Run that command by itself to see what it waits for.",
    "concurrent.futures.process.BrokenProcessPool": "A helping process was ended, often for its memory. " + _MEMORY,
    "torch.multiprocessing.spawn.ProcessException": "A helping process ended; its own line is above.",
    "numba.core.errors.NumbaError": "Remove the folder that NUMBA_CACHE_DIR names, or __pycache__ in kernels.",
    "numpy.linalg.LinAlgError": "Columns must not be constant or copies of one another: leave one of them out.",
}

_OF_FILES = (_DAMAGED, REMEDIES["builtins.UnicodeDecodeError"], REMEDIES["yaml.error.YAMLError"])

OF_SYSTEM = {
    errno.ENOSPC: "Free disk space and run it again; what was there before is intact.",
    errno.EDQUOT: "Free disk space and run it again; what was there before is intact.",
    errno.EACCES: "Change the rights, or choose a place that you may use.",
    errno.EPERM: "Change the rights, or choose a place that you may use.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Every part of the path but the last must be a folder.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.EEXIST: "Choose another name, or move what is there.",
    errno.ENOTEMPTY: "Choose another name, or move what is there.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "A link leads back to itself: remove it.",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096.",
    errno.ENFILE: "Close other programs: the system has no more open files to give.",
    errno.ENOMEM: _MEMORY,
    errno.EIO: "The disk or the network drive does not answer as it should: copy the file elsewhere.",
    errno.ESTALE: "The network drive has lost the file: mount it again.",
    errno.EADDRINUSE: "Choose another --port; 0 takes any free one.",
    errno.EADDRNOTAVAIL: "--host must be an address of this machine, e.g. 127.0.0.1 or ::1.",
    errno.ECONNREFUSED: "Nothing listens there: start it, or correct the address.",
    errno.ECONNRESET: "The other side ended the connection: run it again.",
    errno.ETIMEDOUT: _NETWORK,
    errno.EPIPE: "The program that was to read this has ended: run it again.",
}


def is_about_a_file(error: BaseException, way_out: str) -> bool:
    """Whether the file at hand helps to understand `error`, whose remedy is `way_out`."""
    return way_out in _OF_FILES or (isinstance(error, OSError) and error.filename is None)


def remedy(error: BaseException) -> str:
    """What to do about `error`, in a sentence; "" for a kind that nobody expected."""
    of_system = OF_SYSTEM.get(error.errno, "") if isinstance(error, OSError) and error.errno else ""
    for kind in type(error).__mro__:
        found = REMEDIES.get(f"{kind.__module__}.{kind.__qualname__}")
        if found is not None:
            return of_system or found
    if of_system:
        return of_system
    said = str(error).lower()
    if "out of memory" in said or "can't allocate memory" in said or "unable to allocate" in said:
        return _MEMORY
    return "Check path, rights and disk." if isinstance(error, OSError) else ""
