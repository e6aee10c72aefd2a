"""The row about `esegeta view`: from a click to its map, against the passes of its windows."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn

from benchmarks.run import ROOT, BenchmarkRun
from benchmarks.table import Line
from esegeta.config import load_config
from esegeta.model import held_still
from esegeta.targets import Scene
from esegeta.view import Session, open_session
from esegeta.view.app import create_app
from esegeta.view.jobs import Jobs
from esegeta.view.question import Question
from esegeta.view.server import HOST, bound, settings
from esegeta.volume import Grid
from esegeta.workflow import Silence, build_predictions

CONFIG = ROOT / "configs" / "demo.yaml"
TOKEN = "benchmark"
METHOD = "saliency"
REPEATS = 5


def click(bench: BenchmarkRun) -> Iterator[Line]:
    """Click into each label of the shipped CT; the fastest of a few, in turns with the other."""
    torch.set_num_threads(bench.threads)
    config = load_config(CONFIG, [f"inference.batch_size={bench.batch_size}"])
    experiment = build_predictions(config, output=bench.folder, device=bench.device)
    session = open_session(experiment, Silence())
    row = f"view, shipped CT, a click explained by {METHOD}, bare network on its windows"
    ours, bare = 0.0, 0.0
    repeats = 1 if bench.quick else REPEATS * bench.repeat
    with served(session) as address:
        for label, place in places(session.scene)[: 1 if bench.quick else None]:
            times = [_both(session, address, label, place) for _ in range(repeats)]
            seconds, alone = (min(each) for each in zip(*times, strict=True))
            ours, bare = ours + seconds, bare + alone
            yield Line(row, f"{label}, fastest of {repeats}", f"{seconds:.2f} s", f"{alone:.2f} s")
    yield Line(row, "time", f"{ours:.2f} s", f"{bare:.2f} s", ours / bare, 1.3)


def _both(
    session: Session, address: str, label: str, place: tuple[float, ...]
) -> tuple[float, float]:
    session.answers.clear()
    start = time.perf_counter()
    ask(address, label, place)
    middle = time.perf_counter()
    question = Question(label, METHOD, "voxel", (place[0], place[1], place[2]))
    frozen = session.freeze(session.aim(question))
    touched = frozen.touched(session.scene.predictor.windows(session.scene.volume.batch))
    before = time.perf_counter()
    bare_passes(session.scene, label, touched)
    return middle - start, time.perf_counter() - before


def bare_passes(scene: Scene, label: str, touched: Sequence[int]) -> None:
    """Run windows forward and backward, as a loop over a bare network would."""
    predictor, x = scene.predictor, scene.volume.batch
    windows, channel = predictor.windows(x), scene.labels.channels(label)[0]
    with held_still(predictor.network), torch.enable_grad():
        for pieces in predictor.pieces(x, windows, touched):
            crops = pieces.crops.requires_grad_(True)
            torch.autograd.grad(predictor.network(crops)[:, channel].sum(), crops)
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


def places(scene: Scene) -> list[tuple[str, tuple[float, float, float]]]:
    """Return a voxel of each predicted label: the one in the middle of their list."""
    grid: Grid = scene.volume.grid
    found = []
    for name in scene.labels.foreground:
        voxels = torch.nonzero(scene.predicted(name))
        if len(voxels):
            found.append((name, grid.to_mm(voxels[len(voxels) // 2].tolist())))
    return found


@contextmanager
def served(session: Session) -> Iterator[str]:
    """Serve a session as the command does; yield the address."""
    jobs = Jobs()
    with bound(0) as listening:
        port = listening.getsockname()[1]
        app = create_app(session, jobs, port=port, token=TOKEN)
        server = uvicorn.Server(settings(app))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://{HOST}:{port}"
        finally:
            server.should_exit = True
            thread.join()
            jobs.close()


def ask(address: str, label: str, place: Sequence[float]) -> bytes:
    """Ask as the page does, and return the volume of the map."""
    question = {"label": label, "method": METHOD, "about": "voxel", "place_mm": list(place)}
    state = json.loads(_request(f"{address}/api/explain", question))
    while state["state"] in ("queued", "running"):
        news = f"{address}/api/jobs/{state['job']}?after={state['version']}"
        state = json.loads(_request(news))
    if state["state"] != "done":
        raise RuntimeError(state["message"])
    return _request(f"{address}/volumes/{state['result']['layers'][0]['volume']}")


def _request(address: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Esegeta-Token": TOKEN, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as response:
        content: bytes = response.read()
    return content
