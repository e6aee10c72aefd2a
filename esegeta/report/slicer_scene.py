"""A scene for 3D Slicer: image, segmentation and maps in one `.mrb` that opens on the target.

A `.mrb` is a zip of a folder with a scene (`.mrml`, XML) and the files that it names, by relative
paths. It is written without Slicer.

Source: https://slicer.readthedocs.io, 'MRML overview' and 'Data loading and saving'.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as xml

from esegeta.volume import atomic_path

DATA = "Data"
"""The folder of files in a scene; the name that Slicer itself gives it."""

FOUR_UP = "3"
"""Slicer's layout of three slices and a 3D view."""

USER_TABLE = "13"
"""Slicer's type of a colour table with entries of its own."""

VIEWS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "Red": ("Axial", (-1, 0, 0, 0, 1, 0, 0, 0, 1)),
    "Green": ("Coronal", (-1, 0, 0, 0, 0, 1, 0, 1, 0)),
    "Yellow": ("Sagittal", (0, 0, -1, -1, 0, 0, 0, 1, 0)),
}
"""Slicer's slice views: what they show, and the axes of a slice in RAS, row by row."""

FOREGROUND_OPACITY = "0.7"

GREY = "vtkMRMLColorTableNodeGrey"
"""The id of a colour table that Slicer always has."""


@dataclass(frozen=True)
class SceneImage:
    """A channel of the image: its file, its name, and the range of grey values shown."""

    name: str
    file: Path
    low: float
    high: float


@dataclass(frozen=True)
class SceneMap:
    """A map: its file, its name, and the magnitude at which its colour is full.

    Args:
        name: name of the map.
        file: path of the NIfTI file.
        high: magnitude at which the colour is full.
        is_signed: whether values below zero mean the opposite.
    """

    name: str
    file: Path
    high: float
    is_signed: bool


@dataclass(frozen=True)
class SlicerScene:
    """What a scene shows.

    Args:
        images: the channels; the first is shown.
        segmentation: path of a `.seg.nrrd` file.
        maps: the maps; the first is shown over the image.
        centre_mm: position in RAS mm that the three slices go through.
        width_mm: width that a slice shows, in mm.
    """

    images: Sequence[SceneImage]
    segmentation: Path
    maps: Sequence[SceneMap]
    centre_mm: tuple[float, float, float]
    width_mm: float


STEPS = 127
"""Entries of a colour table on each side of zero."""

ABOVE = ((120, 20, 0), (255, 210, 60))
BELOW = ((0, 20, 120), (60, 210, 255))
"""Red, green and blue near zero and at the ends."""

DUST = 0.05
"""Share of the full magnitude below which nothing of a map is seen."""


def write_scene(path: Path, scene: SlicerScene, key: str = "") -> None:
    """Write a scene as `.mrb`: files that are already compressed are stored, the rest is deflated.

    Args:
        path: path of the file to write.
        scene: content of the scene.
        key: fingerprint of its inputs, kept as the zip's comment.
    """
    folder = path.stem
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as bundle,
    ):
        bundle.comment = key.encode()
        for file, name in _files_of(scene):
            packed = name.endswith((".gz", ".nrrd"))
            method = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            bundle.write(file, f"{folder}/{DATA}/{name}", compress_type=method)
        for is_signed in sorted({one.is_signed for one in scene.maps}):
            bundle.writestr(f"{folder}/{DATA}/{_table_file(is_signed)}", colour_table(is_signed))
        bundle.writestr(f"{folder}/{folder}.mrml", _mrml(scene))


def colour_table(is_signed: bool) -> str:
    """Return a colour table as Slicer's `.ctbl`: a line per entry with number, name and RGBA.

    Above zero dark red to yellow, below dark blue to light blue. Slicer shows an entry wholly or
    not at all: what is near zero is clear.
    """
    lines = ["# Color table file: number, name, red, green, blue, opacity"]
    places = range(-STEPS if is_signed else 0, STEPS + 1)
    for number, place in enumerate(places):
        share = abs(place) / STEPS
        dark, light = ABOVE if place >= 0 else BELOW
        parts = (round(a + share * (b - a)) for a, b in zip(dark, light, strict=True))
        opacity = 0 if share < DUST else 255
        lines.append(f"{number} {place / STEPS:+.3f} {' '.join(map(str, parts))} {opacity}")
    return "\n".join(lines) + "\n"


def scene_key(path: Path) -> str:
    """Return the key of an existing scene, or nothing where none can be read."""
    try:
        with zipfile.ZipFile(path) as bundle:
            return bundle.comment.decode(errors="replace")
    except (OSError, zipfile.BadZipFile):
        return ""


def _files_of(scene: SlicerScene) -> Iterator[tuple[Path, str]]:
    """Yield files and their names in the scene; images of two folders may share a name."""
    for place, image in enumerate(scene.images, start=1):
        yield image.file, _image_file(place, image)
    yield scene.segmentation, scene.segmentation.name
    yield from ((one.file, one.file.name) for one in scene.maps)


def _image_file(place: int, image: SceneImage) -> str:
    return f"image{place}_{image.file.name}"


def _table_file(is_signed: bool) -> str:
    return "signed.ctbl" if is_signed else "magnitude.ctbl"


def _mrml(scene: SlicerScene) -> bytes:
    root = xml.Element("MRML", version="Volumes4.4.0", userTags="")
    for is_signed in sorted({one.is_signed for one in scene.maps}):
        _add_table(root, is_signed)
    volumes = [_add_image(root, place, one) for place, one in enumerate(scene.images, start=1)]
    over = [_add_map(root, place, one) for place, one in enumerate(scene.maps, start=1)]
    _add_segmentation(root, scene)
    for view in VIEWS:
        _add_view(root, view, scene, volumes[0], over[0])
    _add(
        root,
        "Layout",
        "Layout",
        "vtkMRMLLayoutNodevtkMRMLLayoutNode",
        singletonTag="vtkMRMLLayoutNode",
        currentViewArrangement=FOUR_UP,
    )
    _add(
        root,
        "Selection",
        "Selection",
        "vtkMRMLSelectionNodeSingleton",
        singletonTag="Singleton",
        references=f"ActiveVolume:{volumes[0]};SecondaryVolume:{over[0]};",
    )
    xml.indent(root)
    content: bytes = xml.tostring(root, encoding="UTF-8", xml_declaration=True)
    return content


def _add(root: xml.Element, tag: str, name: str, identity: str, **more: str) -> None:
    xml.SubElement(root, tag, {"id": identity, "name": name, **more})


def _add_table(root: xml.Element, is_signed: bool) -> None:
    name = _table_file(is_signed).removesuffix(".ctbl")
    storage = f"vtkMRMLColorTableStorageNode_{name}"
    _add(
        root,
        "ColorTableStorage",
        f"{name}_storage",
        storage,
        fileName=f"{DATA}/{_table_file(is_signed)}",
    )
    num_colours = 2 * STEPS + 1 if is_signed else STEPS + 1
    _add(
        root,
        "ColorTable",
        f"attribution ({name})",
        _table_id(is_signed),
        type=USER_TABLE,
        numcolors=str(num_colours),
        references=f"storage:{storage};",
    )


def _table_id(is_signed: bool) -> str:
    return f"vtkMRMLColorTableNode_{_table_file(is_signed).removesuffix('.ctbl')}"


def _add_image(root: xml.Element, place: int, image: SceneImage) -> str:
    return _add_volume(
        root, f"Image{place}", image.name, _image_file(place, image), (image.low, image.high), GREY
    )


def _add_map(root: xml.Element, place: int, one: SceneMap) -> str:
    low = -one.high if one.is_signed else 0.0
    return _add_volume(
        root, f"Map{place}", one.name, one.file.name, (low, one.high), _table_id(one.is_signed)
    )


def _add_volume(
    root: xml.Element, key: str, name: str, file: str, shown: tuple[float, float], table: str
) -> str:
    low, high = shown
    identity, looks, storage = (
        f"vtkMRML{kind}Node{key}"
        for kind in ("ScalarVolume", "ScalarVolumeDisplay", "VolumeArchetypeStorage")
    )
    place = f"{DATA}/{file}"
    _add(
        root,
        "VolumeArchetypeStorage",
        f"{name}_storage",
        storage,
        fileName=place,
        fileListMember0=place,
        UseOrientationFromFile="1",
        centerImage="0",
    )
    _add(
        root,
        "VolumeDisplay",
        f"{name}_display",
        looks,
        window=repr(high - low),
        level=repr((high + low) / 2),
        autoWindowLevel="0",
        applyThreshold="0",
        autoThreshold="0",
        interpolate="1" if table == GREY else "0",
        colorNodeID=table,
    )
    _add(root, "Volume", name, identity, references=f"display:{looks};storage:{storage};")
    return identity


def _add_segmentation(root: xml.Element, scene: SlicerScene) -> None:
    identity, looks, storage = (
        f"vtkMRML{kind}Node1"
        for kind in ("Segmentation", "SegmentationDisplay", "SegmentationStorage")
    )
    _add(
        root,
        "SegmentationStorage",
        "segmentation_storage",
        storage,
        fileName=f"{DATA}/{scene.segmentation.name}",
    )
    _add(
        root,
        "SegmentationDisplay",
        "segmentation_display",
        looks,
        Visibility2DFill="false",
        Visibility2DOutline="true",
        Opacity2DFill="0",
        Opacity2DOutline="1",
        Opacity3D="0.4",
        visibility="true",
    )
    _add(
        root,
        "Segmentation",
        "segmentation",
        identity,
        SourceRepresentationName="Binary labelmap",
        references=f"display:{looks};storage:{storage};",
    )


def _add_view(root: xml.Element, view: str, scene: SlicerScene, image: str, over: str) -> None:
    orientation, axes = VIEWS[view]
    rows = (axes[start : start + 3] for start in (0, 3, 6))
    numbers = [
        value for row, centre in zip(rows, scene.centre_mm, strict=True) for value in (*row, centre)
    ]
    width = repr(scene.width_mm)
    _add(
        root,
        "Slice",
        view,
        f"vtkMRMLSliceNode{view}",
        singletonTag=view,
        layoutName=view,
        orientation=orientation,
        fieldOfView=f"{width} {width} 1",
        sliceVisibility="false",
        sliceToRAS=" ".join(repr(float(value)) for value in (*numbers, 0, 0, 0, 1)),
    )
    _add(
        root,
        "SliceComposite",
        view,
        f"vtkMRMLSliceCompositeNode{view}",
        singletonTag=view,
        layoutName=view,
        linkedControl="1",
        compositing="0",
        foregroundOpacity=FOREGROUND_OPACITY,
        references=f"backgroundVolume:{image};foregroundVolume:{over};",
    )
