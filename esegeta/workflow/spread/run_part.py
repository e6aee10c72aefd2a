"""One part of a command, in a process that knows nothing of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from esegeta.config import list_cases
from esegeta.errors import ConfigError
from esegeta.model import hashes_kept_in
from esegeta.stop import stopped_by_signals
from esegeta.volume import sweep
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.lock import shared
from esegeta.workflow.spread.folder import HIDDEN, SharedFolder
from esegeta.workflow.spread.hashes import HashFolder
from esegeta.workflow.spread.origin import OF_CASES, Origin
from esegeta.workflow.spread.own_journal import OwnJournal, read_journal
from esegeta.workflow.spread.parts import Part, keep_shares, kept_shares
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
    only: Collection[str] | None = None
    if origin.command in OF_CASES:
        shares = kept_shares(folder, [case.name for case in list_cases(config)], part.count)
        only = None if shares is None else _own(shares, part)
    name = f"{origin.command}-{part.name}"
    with keeping_hashes(folder, part.name):
        command = origin.build(listener, only)
        if policy.overwrite and command.forget is not None:
            raise ConfigError(
                f"--overwrite: one part of `{origin.command}` cannot do again what stands on all",
                hint=f"remove {command.folder}, and run the parts without it",
            )
        with stopped_by_signals(), shared(root, name, f"-of-{part.count}"):
            command.claim(policy)
            origin.save(folder)
            keep_expected(folder, command.num_tasks)
            if only is None:
                only = _own(keep_shares(folder, command.places, part.count), part)
            own = frozenset(only)
            # Of the whole folder, parts would list what others are writing to.
            for name in own if origin.command in OF_CASES else ():
                sweep(root / name)
            before = read_journal(folder.journal(f"part-{part.name}"))
            expected = command.num_tasks * len(own) // max(1, len(command.places))
            with OwnJournal(
                folder.journal(f"part-{part.name}"),
                name=f"part {part}",
                num_tasks=expected,
                deaths=before.deaths,
            ) as journal:
                engine = PlaceEngine(command, listener, policy, journal, own)
                return engine.run(), command


def _own(shares: dict[str, int], part: Part) -> list[str]:
    return [name for name, number in shares.items() if number == part.number]


@contextmanager
def keeping_hashes(folder: SharedFolder, name: str) -> Iterator[None]:
    """Take hashes of files from the output folder's hidden one, and leave new ones there."""
    book = HashFolder(folder.root / HIDDEN / "hashes", name)
    try:
        with hashes_kept_in(book):
            yield
    finally:
        book.close()
