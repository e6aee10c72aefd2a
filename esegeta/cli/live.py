"""`esegeta view`: from a config, or a model and an image, to a page that answers clicks."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from esegeta.cli.progress import listen
from esegeta.config import load_config
from esegeta.config.asked import Asked
from esegeta.config.one_line import draft_of
from esegeta.errors import ConfigError
from esegeta.view import open_session
from esegeta.workflow import Experiment, build_predictions
from esegeta.workflow.one_line import CONFIG, run_folder

PACKAGES = ("starlette", "uvicorn")
CONFIGS = (".yaml", ".yml")


def open_page(
    asked: Asked,
    output: Path | None,
    *,
    case: str | None,
    port: int | None,
    shown: bool,
    quiet: bool,
) -> None:
    """Predict an image, and serve its page until the process is interrupted.

    Args:
        asked: model and image.
        output: folder for the maps that are kept.
        case: name of a case; the first by default.
        port: port of the address; any free one by default.
        shown: whether to open the page in a browser.
        quiet: whether to print only the address.

    Raises:
        EsegetaError: the extra is not installed, or anything that was given cannot be used.
    """
    require_extra()
    from esegeta.view.server import serve

    say = _silence if quiet else _say
    experiment = build_predictions_of(asked, output, say)
    with listen(quiet=quiet) as listener:
        session = open_session(experiment, listener, case=case)
    others = len(experiment.cases) - 1
    if others and case is None:
        say(f"case {session.case.name}, the first of {others + 1}; another: --case NAME")
    say(f"maps that you keep are written to {experiment.root}")
    serve(session, _say, port=port, shown=shown)


def require_extra() -> None:
    """Refuse to go on where the packages of the server are missing.

    Raises:
        ConfigError: says how to install them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"`esegeta view` needs {' and '.join(missing)}", hint="pip install 'esegeta[view]'"
        )


def build_predictions_of(
    asked: Asked, output: Path | None, say: Callable[[str], None]
) -> Experiment:
    """Return what the arguments stand for, built and checked.

    Raises:
        EsegetaError: an image is missing, or the first thing found wrong with any argument.
    """
    device = None if asked.device == "auto" else asked.device
    if not asked.images:
        if asked.model.suffix.lower() not in CONFIGS:
            raise ConfigError(
                f"IMAGE: missing; {asked.model} is not a config, which would name its images",
                hint="esegeta view MODEL IMAGE",
            )
        config = load_config(asked.model, list(asked.overrides))
        return build_predictions(config, output=output, device=device)
    folder = run_folder(asked, output)
    draft = draft_of(asked, folder / CONFIG, name=folder.name, output=folder.parent)
    for guess in draft.guesses:
        say(f"note: {guess}")
    return build_predictions(draft.checked(), device=device)


def _say(text: str) -> None:
    print(text, flush=True)


def _silence(text: str) -> None:
    pass
