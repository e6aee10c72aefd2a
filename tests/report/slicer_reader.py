"""Run by itself: load a scene with 3D Slicer's own libraries and print what they make of it."""

from __future__ import annotations

import json
import sys
import tempfile

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def main(path: str) -> None:
    scene = slicer.vtkMRMLScene()
    slicer.vtkSlicerApplicationLogic().SetMRMLScene(scene)
    logics = [slicer.vtkSlicerVolumesLogic(), slicer.vtkSlicerSegmentationsModuleLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    grey = slicer.vtkMRMLColorTableNode()
    grey.SetTypeToGrey()
    grey.SetSingletonTag("Grey")
    scene.AddNode(grey)  # which Slicer itself always has
    with tempfile.TemporaryDirectory() as folder:
        mrml = scene.UnpackSlicerDataBundle(path, folder)
        scene.SetURL(mrml)
        assert scene.Connect(None) == 1
        print(json.dumps(found_in(scene)))


def nodes(scene: slicer.vtkMRMLScene, kind: str) -> list[slicer.vtkMRMLNode]:
    return [
        scene.GetNthNodeByClass(place, kind) for place in range(scene.GetNumberOfNodesByClass(kind))
    ]


def found_in(scene: slicer.vtkMRMLScene) -> dict[str, object]:
    return {
        "volumes": {
            node.GetName(): told_volume(node) for node in nodes(scene, "vtkMRMLScalarVolumeNode")
        },
        "segments": [
            told for node in nodes(scene, "vtkMRMLSegmentationNode") for told in told_segments(node)
        ],
        "views": {
            node.GetName(): told_view(scene, node) for node in nodes(scene, "vtkMRMLSliceNode")
        },
    }


def told_volume(node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, object]:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    display = node.GetDisplayNode()
    display.UpdateImageDataPipeline()
    producer = display.GetImageDataConnection().GetProducer()
    producer.Update()
    colours = vtk_to_numpy(producer.GetOutput().GetPointData().GetScalars())
    values = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    return {
        "shape": node.GetImageData().GetDimensions(),
        "affine": [[matrix.GetElement(i, j) for j in range(4)] for i in range(4)],
        "range": [display.GetWindowLevelMin(), display.GetWindowLevelMax()],
        "values": values.astype(float).tolist(),
        "colours": colours.tolist(),
        "table": display.GetColorNode() and display.GetColorNode().GetName(),
    }


def told_segments(node: slicer.vtkMRMLSegmentationNode) -> list[dict[str, object]]:
    told = []
    segmentation = node.GetSegmentation()
    for place in range(segmentation.GetNumberOfSegments()):
        identity = segmentation.GetNthSegmentID(place)
        segment = segmentation.GetSegment(identity)
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(identity, image)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        extent = image.GetExtent()
        voxels = [
            matrix.MultiplyPoint((i, j, k, 1))[:3]
            for i in range(extent[0], extent[1] + 1)
            for j in range(extent[2], extent[3] + 1)
            for k in range(extent[4], extent[5] + 1)
            if image.GetScalarComponentAsDouble(i, j, k, 0) > 0
        ]
        told.append({"name": segment.GetName(), "colour": segment.GetColor(), "voxels_mm": voxels})
    return told


def told_view(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLSliceNode) -> dict[str, object]:
    matrix = node.GetSliceToRAS()
    composite = scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{node.GetName()}")
    layers = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    return {
        "centre_mm": [matrix.GetElement(i, 3) for i in range(3)],
        "normal": [matrix.GetElement(i, 2) for i in range(3)],
        "layers": [scene.GetNodeByID(layer).GetName() for layer in layers],
    }


if __name__ == "__main__":
    main(sys.argv[1])
