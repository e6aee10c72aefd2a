"""What a page says, read without a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib


@dataclass
class Element:
    """A tag with its attributes and the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.elements.append(element)
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


class Page:
    """A written report."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        reader = _Reader()
        reader.feed(self.text)
        self.elements = reader.elements

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script is given."""
        return json.loads(self.one("script", id="report-data").text)

    def find(self, tag: str, **attributes: str) -> Iterator[Element]:
        """Yield the elements of a tag that have these attributes; `data_x` stands for `data-x`."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        for element in self.elements:
            if element.tag == tag and wanted.items() <= element.attributes.items():
                yield element

    def one(self, tag: str, **attributes: str) -> Element:
        """Return the only such element."""
        (element,) = self.find(tag, **attributes)
        return element

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        return self.one("meta", http_equiv="Content-Security-Policy").attributes["content"]

    def volume(self, identity: str) -> nib.Nifti1Image:
        """Return a volume as the page gets it."""
        inside = list(self.find("script", id=f"volume-{identity}"))
        if inside:
            text = inside[0].text
        else:
            script = (self.path.parent / f"volumes/{identity}.js").read_text()
            found = re.fullmatch(rf'esegetaVolume\("{identity}", "([^"]*)"\);\n', script)
            assert found
            text = found[1]
        return read_copy(base64.b64decode(text))


def read_copy(content: bytes) -> nib.Nifti1Image:
    """Return a display copy as an image."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))
