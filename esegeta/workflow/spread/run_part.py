"""One part of a command, in a process that knows nothing of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from esegeta.config import RunConfig, list_cases
from esegeta.errors import ConfigError
from esegeta.model import hashes_kept_in
from esegeta.stop import stopped_by_signals
from esegeta.volume import sweep
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.lock import shared
from esegeta.workflow.spread.folder import HIDDEN, SharedFolder
from esegeta.workflow.spread.gather import keep_process
from esegeta.workflow.spread.hashes import HashFolder
from esegeta.workflow.spread.origin import OF_CASES, Origin
from esegeta.workflow.spread.own_journal import OwnJournal, read_journal
from esegeta.workflow.spread.parts import Lot, Part, keep_shares, kept_shares, lots_of
from esegeta.workflow.spread.status import keep_expected
from esegeta.workflow.spread.worker import PlaceEngine
from esegeta.workflow.task import Listener


def run_part(
    origin: Origin, part: Part, listener: Listener, policy: Policy | None = None
) -> tuple[Outcome, Command]:
    """Do the tasks of one part that are not finished; tables are for `gather`.

    Raises:
        EsegetaError: the first thing found wrong with the command.
        OutputError: another process holds the part, all of the output folder, or a part of
            another division; or the folder cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    policy = policy or Policy()
    config = origin.load()
    root = origin.root(config)
    folder = SharedFolder(root, origin.command)
    origin = origin.fixed(config)
    marks, own, only = _marks(config), None, None
    if origin.command in OF_CASES:
        own = _own(kept_shares(folder, marks, part.count), part)
        only = None if own is None else {lot.place for lot in own}
    name = f"{origin.command}-{part.name}"
    with keeping_hashes(folder, part.name):
        command = origin.build(listener, only)
        if policy.overwrite and command.forget is not None:
            raise ConfigError(
                f"--overwrite: a part of `{origin.command}` cannot redo what depends on all parts",
                hint=f"remove {command.folder}, and run the parts without it",
            )
        with stopped_by_signals(), shared(root, name, f"-of-{part.count}"):
            command.claim(policy)
            origin.save(folder)
            keep_expected(folder, command)
            if own is None:
                marks = marks if origin.command in OF_CASES else list(command.places)
                lots = lots_of(command.places, command.pieces, part.count)
                own = _own(keep_shares(folder, marks, lots, part.count), part) or []
            # Of the whole folder, parts would list what others are writing to.
            for lot in own if origin.command in OF_CASES else ():
                if not lot.pieces:
                    sweep(root / lot.place)
            before = read_journal(folder.journal(f"part-{part.name}"))
            keep_process(folder, before.head)  # should it have been killed while it was writing
            with OwnJournal(
                folder.journal(f"part-{part.name}"),
                name=f"part {part}",
                num_tasks=_num_tasks(command, own),
                deaths=before.deaths,
                origin=origin.sha256,
            ) as journal:
                names = frozenset(name for lot in own for name in lot.names)
                engine = PlaceEngine(command, listener, policy, journal, names)
                return engine.run(), command


def _marks(config: RunConfig) -> list[str]:
    """Return what tells the cases of a config, and the targets that split them, from others."""
    targets = [f"target {keys.model_dump_json()}" for keys in config.keys.targets]
    return [*(f"case {case.name}" for case in list_cases(config)), *targets]


def _own(shares: dict[Lot, int] | None, part: Part) -> list[Lot] | None:
    if shares is None:
        return None
    return [lot for lot, number in shares.items() if number == part.number]


def _num_tasks(command: Command, own: Collection[Lot]) -> int:
    """Return how many tasks lots have, as far as that is known beforehand."""
    each = command.num_tasks / max(1, len(command.places))
    shares = [len(lot.pieces) / len(command.pieces[lot.place]) if lot.pieces else 1 for lot in own]
    return round(each * sum(shares))


@contextmanager
def keeping_hashes(folder: SharedFolder, name: str) -> Iterator[None]:
    """Take hashes of files from the output folder's hidden one, and leave new ones there."""
    book = HashFolder(folder.root / HIDDEN / "hashes", name)
    try:
        with hashes_kept_in(book):
            yield
    finally:
        book.close()
