"""Where a report's parts go: files beside the page, or the page itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from esegeta.errors import OutputError
from esegeta.report.files import read_sidecar
from esegeta.report.page.assets import NIIVUE, REPORT, static_text
from esegeta.volume import sweep, write_json, write_text

PAGE, MANIFEST = "index.html", "report.json"
SCRIPTS, STYLE, LICENCE = (NIIVUE, REPORT), "report.css", "LICENSE.niivue.txt"
VOLUME_ELEMENT = "volume-"


@dataclass(frozen=True)
class PageFrame:
    """The parts of a page that depend on where its files lie.

    Args:
        policy: the Content-Security-Policy.
        sources: scripts, by their path.
        scripts: scripts, by their text; either these or `sources` are given.
        style_source: path of the style sheet; empty without one.
        style: text of the style sheet.
        volumes: base64 of each volume by its id, for a page that contains them.
        comment: a licence that must stand in the page.
    """

    policy: str
    sources: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    style_source: str = ""
    style: str = ""
    volumes: tuple[tuple[str, str], ...] = ()
    comment: str = ""


@runtime_checkable
class Sink(Protocol):
    """Takes a report's parts, and says at the end how the page finds them."""

    def add_volume(self, content: bytes) -> str:
        """Take a gzipped NIfTI; return its id."""

    def add_picture(self, path: Path) -> str:
        """Take a PNG; return the source of an <img>, or nothing where the file is missing."""

    def frame(self) -> PageFrame:
        """Return what the page needs to know."""

    def close(self, page: str) -> Path:
        """Write the page; return where."""


@dataclass(eq=False)
class FolderSink:
    """Parts are files in a folder; volumes are scripts, since a file:// page can load nothing else.

    Args:
        root: the folder; an earlier report in it is replaced.
    """

    root: Path
    _files: list[str] = field(default_factory=list)
    _earlier: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._earlier = require_room(self.root)
        if self.root.is_dir():
            sweep(self.root)
        write_json(self.root / MANIFEST, {"files": self._earlier, "state": "writing"})

    def add_volume(self, content: bytes) -> str:
        """Write a volume as a script that hands it to the page."""
        number = sum(name.startswith("volumes/") for name in self._files)
        identity, text = f"v{number}", base64.b64encode(content).decode()
        self._write(f"volumes/{identity}.js", f'esegetaVolume("{identity}", "{text}");\n')
        return identity

    def add_picture(self, path: Path) -> str:
        """Copy a picture into the folder under a plain name."""
        content = _content_of(path)
        if content is None:
            return ""
        number = sum(name.startswith("pictures/") for name in self._files)
        name = f"pictures/p{number}.png"
        (self.root / "pictures").mkdir(exist_ok=True)
        (self.root / name).write_bytes(content)
        self._files.append(name)
        return name

    def frame(self) -> PageFrame:
        """Return a page that takes scripts, styles and pictures from its own folder only."""
        for name in (*SCRIPTS, STYLE, LICENCE):
            self._write(f"static/{name}", static_text(name))
        policy = policy_of("'self'", "'self'", "'self' data:")
        sources = tuple(f"static/{name}" for name in SCRIPTS)
        return PageFrame(policy, sources=sources, style_source=f"static/{STYLE}")

    def close(self, page: str) -> Path:
        """Write the page, last of all, and remove what only an earlier report had."""
        self._write(PAGE, page)
        _remove(self.root, self._earlier, self._files)
        write_json(self.root / MANIFEST, {"files": self._files, "state": "complete"})
        return self.root / PAGE

    def _write(self, name: str, text: str) -> None:
        write_text(self.root / name, text)
        self._files.append(name)


@dataclass(eq=False)
class PageSink:
    """All parts are in the page, which is one file.

    Args:
        path: path of the page, or of the folder that it lies in.
    """

    path: Path
    _volumes: list[tuple[str, str]] = field(default_factory=list)
    _earlier: list[str] | None = None

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in (".html", ".htm"):
            self._earlier = require_room(self.path)

    def add_volume(self, content: bytes) -> str:
        """Keep a volume for the page."""
        identity = f"v{len(self._volumes)}"
        self._volumes.append((identity, base64.b64encode(content).decode()))
        return identity

    def add_picture(self, path: Path) -> str:
        """Return a picture as a data: source."""
        content = _content_of(path)
        if content is None:
            return ""
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"

    def frame(self) -> PageFrame:
        """Return a page that runs no other scripts than these two, by their hashes."""
        scripts, style = tuple(map(static_text, SCRIPTS)), static_text(STYLE)
        policy = policy_of(_hashes(scripts), _hashes([style]), "data:")
        return PageFrame(
            policy,
            scripts=scripts,
            style=style,
            volumes=tuple(self._volumes),
            comment=static_text(LICENCE),
        )

    def close(self, page: str) -> Path:
        """Write the page, and remove what only an earlier report had."""
        if self._earlier is None:
            write_text(self.path, page)
            return self.path
        write_text(self.path / PAGE, page)
        _remove(self.path, self._earlier, [PAGE])
        write_json(self.path / MANIFEST, {"files": [PAGE], "state": "complete"})
        return self.path / PAGE


def sink_for(output: Path, *, single_file: bool) -> Sink:
    """Return where a report goes.

    Raises:
        OutputError: the folder holds a page that is not a report, or a file name is given where a
            folder is needed.
    """
    if single_file:
        return PageSink(output)
    if output.suffix.lower() in (".html", ".htm"):
        raise OutputError(
            f"{output}: a report of several files needs a folder",
            hint="name a folder with -o, or give --single-file",
        )
    return FolderSink(output)


def require_room(root: Path) -> list[str]:
    """Return the files of an earlier report in a folder.

    Raises:
        OutputError: it is a file, or holds a page that is not a report.
    """
    if root.is_file():
        raise OutputError(f"{root}: is a file", hint="name a folder with -o")
    manifest = read_sidecar(root / MANIFEST)
    if manifest is not None and isinstance(manifest.get("files"), list):
        return [str(name) for name in manifest["files"]]
    if (root / PAGE).exists():
        raise OutputError(
            f"{root}: holds {PAGE}, which was not written by `esegeta report`",
            hint="name another folder with -o",
        )
    return []


def policy_of(scripts: str, styles: str, images: str) -> str:
    """Return a Content-Security-Policy: nothing but a few kinds of parts, and no connections.

    NiiVue draws its letters and its light from pictures that it holds as data.
    """
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src {images}; "
        "base-uri 'none'; form-action 'none'"
    )


def json_text(value: object) -> str:
    """Return JSON that can stand in a page: no tag or comment in it begins or ends anything."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, code)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hashes(texts: Sequence[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _remove(root: Path, earlier: Sequence[str], kept: Sequence[str]) -> None:
    for name in set(earlier) - set(kept):
        path = (root / name).resolve()
        if path.is_relative_to(root.resolve()) and path.suffix in (".js", ".png", ".css", ".txt"):
            path.unlink(missing_ok=True)
    for name in ("volumes", "pictures", "static"):
        folder = root / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
