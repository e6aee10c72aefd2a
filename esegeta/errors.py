"""Errors that a user can act on: what was wrong, what was found, what to do.

Anything that is not an `EsegetaError` is a bug of ours and keeps its traceback.

    EsegetaError
    ├── ConfigError         a YAML file, an override or an argument
    ├── DataError           an image, a label map, a baseline
    │   ├── MissingFileError    a file that is not where it should be
    │   ├── GridError       two images that do not lie on the same grid
    │   └── StepError       an image that a step of preprocessing cannot take
    ├── ModelError          a network that cannot be built or run
    │   ├── WeightsError    weights that are missing, foreign or unsafe
    │   │   └── WeightsKeyError    ... or not under the key that was given
    │   ├── LayerError      a layer that the network does not have
    │   ├── OutputChoiceError   an output that the network does not return
    │   ├── ResultsKeyError     a folder of results that lacks what a key asks for
    │   └── WindowError     a window that the network cannot take
    ├── TargetError         a target that cannot be formed
    │   └── EmptyTargetError    ... because its mask holds no voxel
    ├── MapError            an attribution that would only look like a result
    │   └── DegenerateMapError   a map that is zero everywhere, NaN or Inf
    ├── RunError            a run's folder that cannot be read, or runs that cannot be compared
    ├── DeviceError         a device that is not there
    └── OutputError         a folder that cannot be written
        └── DiskFullError       ... because no space is left
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Mapping


class EsegetaError(Exception):
    """Base of every error that a user can fix; `hint` says how.

    Args:
        message: what was wrong, and what was found.
        hint: what to do, or the nearest valid name.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def name_differently(error: EsegetaError, key: str, name: str) -> None:
    """Let an error call a key by another name; paths and longer words that hold it stay."""
    found = re.compile(rf"(?<![\w./\\-]){re.escape(key)}(?![\w/\\-])")
    error.message = found.sub(lambda _: name, error.message)
    error.hint = found.sub(lambda _: name, error.hint)


class ConfigError(EsegetaError):
    """A config file, an override or an argument is wrong."""


class DataError(EsegetaError):
    """An image, a label map or a baseline cannot be used."""


class MissingFileError(DataError):
    """A file is not where it should be; whoever knows the key that named it adds it to the hint."""


class GridError(DataError):
    """Two images that must lie on one grid do not."""


class StepError(DataError):
    """A step of preprocessing cannot take an image; `step` is its path below `preprocess`."""

    def __init__(self, message: str, *, hint: str = "", step: tuple[str | int, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class ModelError(EsegetaError):
    """A network cannot be built or run."""


class WeightsError(ModelError):
    """Weights are missing, do not fit, or are more than plain tensors."""


class WeightsKeyError(WeightsError):
    """A file of weights holds nothing under the key that was given."""


class LayerError(ModelError):
    """A layer that was named does not exist in the network."""


class OutputChoiceError(ModelError):
    """An output that was chosen is not among those that the network returns."""


class ResultsKeyError(ModelError):
    """A folder of results lacks what a key of `model` asks for; `key` is which."""

    def __init__(self, message: str, *, hint: str = "", key: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


class WindowError(ModelError):
    """The network cannot take windows of this size."""


class TargetError(EsegetaError):
    """A target cannot be formed from what was given."""


class EmptyTargetError(TargetError):
    """The mask of a target holds no voxel."""


class MapError(EsegetaError):
    """A map is all zero or not finite, or a method has nothing to work on."""


class DegenerateMapError(MapError):
    """A map is there, and is zero everywhere or holds NaN or Inf."""


class RunError(EsegetaError):
    """The folder of a run cannot be read, or runs cannot be compared."""


class DeviceError(EsegetaError):
    """The requested device is not available."""


class OutputError(EsegetaError):
    """The output cannot be written."""


class DiskFullError(OutputError):
    """There is no space left where results are written.

    Args:
        message: which file could not be written.
        hint: what to do.
        num_finished: tasks that were finished before, and are kept.
    """

    num_finished = 0


MOST_NAMES = 20
"""More names than these are not listed."""
FEW_NAMES = 5
"""How many names of a longer list are given."""


def some_of(names: Iterable[object]) -> str:
    """Return the first few of some names, and how many more there are."""
    known = [str(name) for name in names]
    shown = ", ".join(known[:FEW_NAMES])
    more = len(known) - FEW_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def suggest(word: object, names: Iterable[object]) -> str:
    """Return the nearest valid name as a question, or the list of valid names.

    Of a long list only the most similar names are given, and duplicates are given once.
    """
    known = list(dict.fromkeys(str(name) for name in names))
    same = [name for name in known if name.casefold() == str(word).casefold()]
    close = same or difflib.get_close_matches(str(word), known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f'"{name}"' for name in close) + "?"
    if len(known) > MOST_NAMES:
        matcher = difflib.SequenceMatcher(b=str(word))

        def likeness(name: str) -> float:
            matcher.set_seq1(name)
            return matcher.ratio()

        nearest = sorted(known, key=likeness, reverse=True)[:FEW_NAMES]
        return f"choose from: {', '.join(nearest)}, and {len(known) - FEW_NAMES} more"
    return "choose from: " + ", ".join(known) if known else "none are known"


def or_else(hint: str, other: str) -> str:
    """Join what `suggest` returned with another way out; a question comes first."""
    if hint.endswith("?"):
        return f"{hint} Or {other}"
    return f"{hint}, or {other}"


FREE_SPACE = "free disk space and run again; finished work is kept"
FAILED_DISK = "the disk or the connection to it failed"
WITH_FILES: Mapping[int, str] = {
    errno.EACCES: "check the permissions of the file and its folders",
    errno.EPERM: "check the permissions of the file and its folders",
    errno.ENOENT: "the file or its folder does not exist any more; check the path",
    errno.ENOTDIR: "there is a file where a folder should be",
    errno.EISDIR: "there is a folder where a file should be",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ELOOP: "symbolic links refer to each other",
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EFBIG: "choose another folder with `output:` or -o",
    errno.EROFS: "choose another folder with `output:` or -o",
    errno.EIO: FAILED_DISK,
    errno.ESTALE: FAILED_DISK,
    errno.ETIMEDOUT: FAILED_DISK,
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "raise the limit of open files: ulimit -n 4096",
}
"""What the system says of files that is for people to mend, and how."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
IN_WORDS = re.compile(r"\(os error (\d+)\)")
"""What libraries in Rust, such as that of tensors, say in place of the number of an OSError."""


def system_error(error: BaseException) -> OSError | None:
    """Return what the system said of a file, by whoever passed it on; None of all else."""
    if isinstance(error, OSError):
        return error
    said = IN_WORDS.search(str(error))
    return None if said is None else OSError(int(said[1]), os.strerror(int(said[1])))


def told_by_system(error: OSError) -> EsegetaError | None:
    """Return what the system said of a file, as an error that can be mended; None of all else."""
    if error.errno is None or error.errno not in WITH_FILES:
        return None
    where = "" if error.filename is None else f"{str(error.filename)[:300]}: "
    kind = DiskFullError if error.errno in DISK_FULL else EsegetaError
    return kind(f"{where}{error.strerror}", hint=WITH_FILES[error.errno])


OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception means that memory ran out, on the device or on the host."""
    if isinstance(error, MemoryError):
        return True
    # On a device it is a torch.OutOfMemoryError, which is a RuntimeError.
    if not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ == "OutOfMemoryError" or any(
        words in str(error) for words in OUT_OF_MEMORY_WORDS
    )
