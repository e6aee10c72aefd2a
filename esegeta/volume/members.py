"""Which files an image consists of: a header and its voxels, or a folder of slices."""

from __future__ import annotations

from pathlib import Path

from esegeta.volume.formats import PAIR, partner_of, suffix_of

HEADERS = (".mhd", ".mha", ".nhdr", ".nrrd")
HEADER_BYTES = 1 << 20
"""A header that is longer than this names no other files that are looked for."""


def members(path: Path) -> tuple[Path, ...]:
    """Return the files that an image consists of.

    Two for a .hdr/.img pair, the header and its voxels for .mhd and .nhdr, every file of a folder
    of DICOM; else the file itself.
    """
    if path.is_dir():
        return tuple(files_in(path))
    if path.suffix.lower() in PAIR:
        partner = partner_of(path)
        return (path,) if partner is None else (path, partner)
    return (path, *data_files(path))


def files_in(folder: Path) -> list[Path]:
    """Return the files that lie in a folder itself and are not hidden, by name."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files of voxels that the header of an NRRD or MetaImage names, if any."""
    if not suffix_of(path.name, HEADERS) or not path.is_file():
        return ()
    lines = _header_lines(path)
    for number, line in enumerate(lines):
        for key in ("ElementDataFile =", "ElementDataFile=", "data file:", "datafile:"):
            if line.lower().startswith(key.lower()):
                names = _names(line[len(key) :].strip(), lines[number + 1 :])
                return tuple(path.parent / name for name in names)
    return ()


def _header_lines(path: Path) -> list[str]:
    """Return the text of a header up to where the voxels begin."""
    with path.open("rb") as stream:
        content = stream.read(HEADER_BYTES)
    lines: list[str] = []
    for line in content.split(b"\n"):
        text = line.decode("latin-1").strip()
        if not text and lines and lines[0].startswith("NRRD"):
            break
        lines.append(text)
        if text.replace(" ", "").lower() == "elementdatafile=local":
            break
    return lines


def _names(value: str, rest: list[str]) -> list[str]:
    """Return the names that a header lists: one, one a line, or a pattern with a range."""
    words = value.split()
    if not words or words[0] == "LOCAL":
        return []
    if words[0] == "LIST":
        return [line for line in rest if line]
    if "%" in words[0] and len(words) >= 3:
        first, last, *step = (int(word) for word in words[1:4])
        return [words[0] % number for number in range(first, last + 1, *step[:1] or [1])]
    return [value]
