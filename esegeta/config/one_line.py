"""From one command line to a whole config: what `explain` runs, and `init --from` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from esegeta.config.asked import Asked, cases_of, target_of
from esegeta.config.closed_defaults import closed_defaults
from esegeta.config.commented import lines_of, write_commented
from esegeta.config.lines import Document
from esegeta.config.parse import RunConfig, check_document, overridden
from esegeta.config.recognise import Recognised, recognise
from esegeta.errors import ConfigError, EsegetaError

CLOSED = ("torchscript", "export")
OF_A_RUN = ("targets", "methods")
"""Keys that `--set` changes only once there are targets and methods."""

ORDER = ("version", "name", "output", "seed", "device", "model")
"""Keys that come first; the others follow, and `OF_A_RUN` comes last."""

SHOWN = ("activation", "labels", "region_order", "data", "inference", "prediction")
"""Blocks that a folder stands for, and that are shown as comments."""

NEXT = ("scores: [infidelity]               # is the map true? `esegeta scores` lists them",)


@dataclass(frozen=True)
class Draft:
    """A config that is being put together.

    Args:
        asked: the arguments.
        recognised: the recognised model.
        path: path where it will be written.
        content: its keys.
        comments: lines by key.
        options: options that gave keys, by the path of the key; for messages.
    """

    asked: Asked
    recognised: Recognised
    path: Path
    content: Mapping[str, Any]
    comments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    options: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)

    def with_run(self, label: str | int, methods: Sequence[Any], comment: str = "") -> Draft:
        """Return the draft with what is explained, and how; `--set` may change both.

        Raises:
            TargetError: the region is not understood.
        """
        over = self.asked.over
        content = {**self.content, "targets": [target_of(label, over)], "methods": [*methods]}
        told = [f"--label {self.asked.label}"] if self.asked.label is not None else []
        told += [f"--over {over}"] if over != "predicted" else []
        options = {
            **self.options,
            ("targets",): " ".join(told) or "--label",
            ("methods",): "--method",
        }
        run = replace(self, content=content, options=options).changed(self._late())
        comments = {
            **run.comments,
            "targets": (
                *([comment] if comment else []),
                "of: logit, probability, margin, ...; over: predicted, component, boundary, point",
            ),
            "methods": ("`esegeta methods` lists them; {name: integrated_gradients, steps: 32}",),
            "": NEXT,
        }
        return replace(run, comments=comments)

    @property
    def guesses(self) -> list[str]:
        """Guesses about what was not given, any of which may make the prediction wrong."""
        return [
            " ".join(lines)
            for key, lines in self.comments.items()
            if key in ("inference", "data", "labels")
        ]

    def checked(self) -> RunConfig:
        """Return the checked config.

        Raises:
            ConfigError: something does not fit; names the argument.
        """
        return check_document(self._document())

    def changed(self, overrides: Sequence[str]) -> Draft:
        """Return the draft with `--set` options taken."""
        document = self._document()
        for override in overrides:
            document = overridden(document, override)
        return replace(self, content=document.content, options=document.options)

    def text(self, command: str, resolved: Mapping[str, Any]) -> str:
        """Return the config as YAML.

        Args:
            command: command that wrote it.
            resolved: all keys with their values, to show what the model's folder implies.
        """
        keys = sorted(self.content, key=_place)
        head = [
            f"Written by `{command}`. Edit it, then: esegeta run {self.path}",
            "(finished maps are skipped, changed ones are made again)",
        ]
        comments = {key: list(lines) for key, lines in self.comments.items()}
        comments["output"] = ["results are written to <output>/<name>"]
        comments["model"] = [self.recognised.source, *self._implied(resolved)]
        content = {key: self.content[key] for key in keys}
        return write_commented(content, comments, head)

    def _implied(self, resolved: Mapping[str, Any]) -> Iterator[str]:
        """Yield what the folder of the model says, which a config may override key by key."""
        if self.recognised.kind not in ("nnunet", "bundle"):
            return
        yield "the folder says the following; a key that you write out overrides it:"
        shown = {key: resolved[key] for key in SHOWN if key not in self.content}
        shown["labels"] = {_number(key): value for key, value in resolved["labels"].items()}
        data = resolved["data"]
        shown["data"] = {key: data[key] for key in ("channels", "preprocess")}
        for key in SHOWN:
            value = _given(shown.get(key))
            if value not in (None, {}, []):
                yield from (f"  {line}" for line in lines_of(key, value))

    def _late(self) -> list[str]:
        return [item for item in self.asked.overrides if item.startswith(OF_A_RUN)]

    def _document(self) -> Document:
        content: Any = _copied(self.content)
        return Document(self.path, content, {}, self.options)


def draft_of(asked: Asked, path: Path, *, name: str | None = None, output: Path | None) -> Draft:
    """Return the config of a model and images, without targets and methods yet.

    Args:
        asked: the arguments.
        path: path where the config will be written.
        name: name of the run.
        output: parent folder of the results; `results` by default.

    Raises:
        EsegetaError: model or images are missing, or of no known kind.
    """
    try:
        found = recognise(asked.model)
    except EsegetaError as error:
        error.message = f"MODEL: {error.message}"
        raise
    cases = cases_of(asked.images, is_nnunet=found.kind == "nnunet") if asked.images else []
    content = {
        "version": 1,
        "name": name or "explained",
        "output": str(output) if output is not None else "results",
        "seed": 0,
        "device": asked.device,
        "model": dict(found.model),
        **found.content,
        "data": {"cases": cases, **found.content.get("data", {})},
    }
    options: dict[tuple[str | int, ...], str] = {
        ("model",): "MODEL",
        ("data", "cases"): "IMAGE",
        ("device",): f"--device {asked.device}",
    }
    early = [item for item in asked.overrides if not item.startswith(OF_A_RUN)]
    draft = Draft(asked, found, path, content, options=options).changed(early)
    return _filled(draft) if found.kind in CLOSED else draft


def _filled(draft: Draft) -> Draft:
    """Return the draft of a closed network with what its file does not say."""
    cases = draft.content["data"]["cases"]
    images = cases[0]["image"] if isinstance(cases, list) and cases else ""
    try:
        found = closed_defaults(
            draft.content["model"], draft.content, 1 if isinstance(images, str) else len(images)
        )
    except EsegetaError as error:
        error.message = f"MODEL: {error.message}"
        raise
    return replace(
        draft,
        content={**draft.content, **found.content},
        comments={**draft.comments, **found.comments},
    )


def label_names(config: RunConfig) -> list[str]:
    """Return the names of a config's labels, as it lists them.

    Raises:
        ConfigError: there are none.
    """
    labels = config.keys.labels
    names = [
        str(key if isinstance(key, str) else value)
        for key, value in labels.items()
        if key != 0 and value != (0,)
    ]
    if not names:
        raise ConfigError("the model has no labels", hint="give them: --set labels={1: liver}")
    return names


def _given(value: Any) -> Any:
    """Return a value without the keys that are empty."""
    if isinstance(value, list):
        return [_given(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _given(item) for key, item in value.items() if item not in (None, [], {})}


def _number(key: str) -> int | str:
    return int(key) if key.removeprefix("-").isdigit() else key


def _place(key: str) -> tuple[int, int]:
    if key in ORDER:
        return 0, ORDER.index(key)
    return (2, OF_A_RUN.index(key)) if key in OF_A_RUN else (1, 0)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
