"""A real Slurm of one node, on this machine alone: started for tests, and gone after them.

It runs as whoever runs the tests, on the loopback, with a configuration and a munge key of its
own. Four GPUs are files. Whether it can be had is decided by starting it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
PATIENCE_S = 30
NUM_GPUS = 4
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
EXPIRE_S = 8
"""A job that is requeued waits for its old credentials to end: for two minutes if nothing is said.
"""

SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={expire_s}
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
NodeName={node} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=low Nodes={node} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 OverSubscribe=NO
PartitionName=high Nodes={node} MaxTime=INFINITE State=UP PriorityTier=10 OverSubscribe=NO
"""


class NoSlurmError(Exception):
    """It cannot be had here; says why."""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm.

    Args:
        folder: where everything of it lies.
    """

    folder: Path

    def call(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's programs and return what it prints."""
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not check or found.returncode == 0, found.stderr
        return found.stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Return the numbers of jobs, in some states or in any that is not over."""
        chosen = ["-t", ",".join(states)] if states else []
        return self.call("squeue", "-h", "-o", "%i", *chosen).split()

    def cancel_all(self) -> None:
        """End all jobs, and wait until they are gone."""
        self.call("scancel", "-u", user(), check=False)
        end = time.monotonic() + PATIENCE_S
        while self.jobs() and time.monotonic() < end:
            time.sleep(0.2)


def end_with_parent() -> None:
    """Ask the system to end this process with the one that started it, however that one ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def user() -> str:
    """Return the name of whoever runs the tests."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """Yield a Slurm of one node.

    Raises:
        NoSlurmError: it cannot be had.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        raise NoSlurmError(f"{', '.join(missing)} missing; scripts/install_slurm installs them")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    started: list[subprocess.Popen[bytes]] = []
    os.environ.update(SLURM_CONF=str(folder / "slurm.conf"), PATH=path)
    try:
        write_settings(folder)
        for command in commands(folder):
            with (folder / f"{Path(command[0]).name}.out").open("wb") as said:
                started.append(
                    subprocess.Popen(
                        command,
                        stdout=said,
                        stderr=said,
                        start_new_session=True,
                        cwd=folder,
                        preexec_fn=end_with_parent,
                    )
                )
            time.sleep(0.3)
        slurm = Slurm(folder)
        _wait_until_idle(slurm, started)
        yield slurm
    finally:
        if started:
            Slurm(folder).cancel_all()
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def write_settings(folder: Path) -> None:
    """Write the configuration and a key."""
    node = platform.node().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    for number in range(NUM_GPUS):
        # Of plain files Slurm counts GPUs, but tells no job which is its own.
        (folder / f"gpu{number}").symlink_to(DEVICES[number])
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    folder.chmod(0o755)
    text = SLURM_CONF.format(
        node=node,
        folder=folder,
        ports=free_ports(2),
        user=user(),
        gpus=NUM_GPUS,
        expire_s=EXPIRE_S,
    )
    (folder / "slurm.conf").write_text(text)
    files = f"{folder}/gpu[0-{NUM_GPUS - 1}]"
    (folder / "gres.conf").write_text(
        f"NodeName={node} Name=gpu File={files} Flags=nvidia_gpu_env\n"
    )


def commands(folder: Path) -> list[list[str]]:
    """Return how the daemons are called, in their order."""
    munge = [
        *("munged", "--foreground", "--force", f"--key-file={folder}/munge.key"),
        *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"),
        *(f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"),
    ]
    conf = str(folder / "slurm.conf")
    return [munge, ["slurmctld", "-D", "-f", conf], ["slurmd", "-D", "-f", conf]]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_until_idle(slurm: Slurm, started: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if any(process.poll() is not None for process in started):
            break
        if slurm.call("sinfo", "-h", "-o", "%T", check=False).splitlines()[:1] == ["idle"]:
            return
        time.sleep(0.1)
    logs = [*slurm.folder.glob("*.out"), *slurm.folder.glob("*.log")]
    said = " | ".join(
        line for log in logs for line in log.read_text(errors="replace").splitlines()[-2:]
    )
    raise NoSlurmError(f"it does not start: {said[-1500:]}")
