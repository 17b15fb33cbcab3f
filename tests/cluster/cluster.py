"""Three hosts on this machine, with sshd, munge and Slurm: network namespaces on a bridge, without systemd, as root.

Each host has its own address 10.77.0.N, host name nodeN and /etc/hosts (Gloo binds to what the host name resolves to),
and shares everything else. Slurm believes that each has 128 cores and 16 GPUs, so that the sites' scripts fit.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import HEIGHT, PATCH, ROOT, WIDTH, environment, write_scenes

HOSTS = ("node1", "node2", "node3")
PROGRAMS = ("ip", "nsenter", "unshare", "sshd", "munged", "slurmctld", "slurmd", "sbatch", "srun", "mpirun")

_SLURM = """
ClusterName=test
SlurmctldHost=node1(10.77.0.1)
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={D}/run/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
KillWait=20
MinJobAge=900
SlurmctldPidFile={D}/run/slurmctld.pid
SlurmdPidFile={D}/run/slurmd.%n.pid
StateSaveLocation={D}/state
SlurmdSpoolDir={D}/spool/%n
SlurmctldLogFile={D}/log/slurmctld.log
SlurmdLogFile={D}/log/slurmd.%n.log
{nodes}
"""
_PARTITIONS = ("all", "gpu", "pearl", "gpu-h100", "standard")


def missing() -> str:
    """Why the cluster cannot be had on this machine; empty if it can."""
    if os.geteuid() != 0:
        return "the virtual cluster needs root"
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"the virtual cluster needs {', '.join(absent)}"
    built = subprocess.run(
        [str(Path(sys.executable).with_name("horovodrun")), "--check-build"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if "[X] MPI" not in built.stdout:
        return "Horovod was built without MPI"
    if subprocess.run(["ip", "netns", "add", "probe"], capture_output=True).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", "probe"], check=True)
    return ""


@contextlib.contextmanager
def running() -> Iterator["Cluster"]:
    """A cluster for a module's tests, with tiny scenes beside it (4 to train on: 24 patches); else they are skipped."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    made = Cluster()
    try:
        made.start()
        write_scenes(made.folder / "scenes", 5)
        yield made
    finally:
        made.stop()


def cloudmask_settings(made: "Cluster", epochs: int) -> dict:
    """Of a training on those scenes."""
    return {
        "benchmark": "cloudmask",
        "data": {"image_h": HEIGHT, "image_w": WIDTH, "patch_size": PATCH, "train_dir": f"{made.folder}/scenes"},
        "training": {"local_batch_size": 2, "epochs": epochs},
        "threads": 1,  # sums are added up in the same order wherever the ranks are
    }


class Cluster:
    """start() before use, stop() after; a folder of its own, seen by all hosts."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))  # sockets want short paths
        self.project = self.folder / "project"
        self._prefix = f"c{os.getpid()}"
        self._processes, self._hosts = [], {}

    def start(self) -> None:
        for name in ("run", "state", "log", "pmix", "project", "bin"):
            (self.folder / name).mkdir()
        for name in ("jobs", "common", "cloudmask", "tf_deepcam", "config"):
            (self.project / name).symlink_to(ROOT / name)
        self._files()
        self._network()
        for number, name in enumerate(HOSTS, 1):
            self._start_host(number, name)
        self._start(["munged", "--foreground", "--force", *self._munge_options()])
        _wait(lambda: (self.folder / "run" / "munge.socket").exists(), "munged")
        self._start(self._on("node1", ["slurmctld", "-D", "-f", self._conf(), "-c"]))
        for name in HOSTS:
            (self.folder / "spool" / name).mkdir(parents=True)
            self._start(self._on(name, ["slurmd", "-D", "-f", self._conf(), "-N", name]))
        _wait(lambda: self.run("sinfo", "-h", "-p", "all", "-t", "idle", "-o", "%D").stdout.strip() == "3", "Slurm")

    def stop(self) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):  # what they started
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                    os.kill(int(entry.parent.name), signal.SIGKILL)
        for name in ("bridge", *HOSTS):
            subprocess.run(["ip", "netns", "del", f"{self._prefix}{name}"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, host: str = "node1", timeout: int = 120, **variables: str) -> subprocess.CompletedProcess:
        """Run a program on a host, in the project's folder; text output, standard error included."""
        process = self.start_program(*words, host=host, **variables)
        try:
            output = process.communicate(timeout=timeout)[0]
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, process.returncode, output)

    def start_program(self, *words, host: str = "node1", **variables: str) -> subprocess.Popen:
        """The same without waiting; output to a pipe."""
        return subprocess.Popen(
            self._on(host, list(map(str, words))),
            cwd=self.project,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def environment(self, **variables: str) -> dict:
        shape = {"GPUS": "0", "FREE_KB": "1000", "SITE_MODULES": "", "INTERFACE": "", "MPI": "pmix", "LAUNCHER": "srun"}
        found = environment(SLURM_CONF=self._conf(), PYTHON=sys.executable, **{**shape, **variables})
        found["PATH"] = f"{self.folder}/bin:{found['PATH']}:/usr/sbin"
        found["HOME"] = str(self.folder)  # horovodrun and ssh leave files there
        found["PYTHONPATH"] = str(self.project)
        allow = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return {**found, **allow, "OMPI_MCA_btl_tcp_if_include": "10.77.0.0/24", "OMPI_MCA_btl": "tcp,self"}

    def submit(self, *words, **variables: str) -> int:
        """sbatch; returns the job's number."""
        done = self.run("sbatch", *words, **variables)
        number = re.search(r"Submitted batch job (\d+)", done.stdout)
        assert number, done.stdout
        return int(number[1])

    def state(self, job: int) -> dict:
        """What scontrol shows of a job: JobState, ExitCode, Restarts ..."""
        text = self.run("scontrol", "show", "job", job).stdout
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def finish(self, job: int, timeout: int = 240) -> tuple:
        """Wait for a job's end: (its state, its output)."""
        _wait(lambda: self.state(job).get("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"), job, timeout)
        return self.state(job), self.output(job)

    def start_requeued(self, job: int, timeout: int = 120) -> None:
        """Slurm lets a requeued job wait for two minutes. Told to start at once it does so while the nodes still know
        the first start as killed, and refuse it: hence the pause."""
        _wait(lambda: self.state(job)["JobState"] == "PENDING", job, timeout)
        time.sleep(5)
        deadline = time.monotonic() + timeout
        while self.state(job)["JobState"] == "PENDING":
            assert time.monotonic() < deadline, self.output(job)
            self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
            time.sleep(2)

    def programs(self, host: str, words: str) -> list:
        """Numbers of the processes on a host that have these words in their command line."""
        network, found = os.readlink(f"/proc/{self._hosts[host]}/ns/net"), []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                if os.readlink(entry / "ns" / "net") == network and words.encode() in line:
                    found.append(int(entry.name))
        return found

    def output(self, job: int) -> str:
        path = self.project / f"slurm-{job}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def cut(self, host: str) -> None:
        """Take a host's link away."""
        number = HOSTS.index(host) + 1
        subprocess.run(["ip", "-n", f"{self._prefix}bridge", "link", "set", f"v{number}", "down"], check=True)

    def crash(self, host: str) -> None:
        """As if its power had gone: nobody hears of it any more, and the programs on it end without a word."""
        self.cut(host)
        own = {process.pid for process in self._processes}
        for number in set(self.programs(host, "")) - own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def mend(self, host: str) -> None:
        number = HOSTS.index(host) + 1
        subprocess.run(["ip", "-n", f"{self._prefix}bridge", "link", "set", f"v{number}", "up"], check=True)

    def _conf(self) -> str:
        return str(self.folder / "slurm.conf")

    def _munge_options(self) -> list:
        run = self.folder / "run"
        return [
            f"--key-file={self.folder}/munge.key",
            f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={run}/munged.seed",
        ]

    def _on(self, host: str, words: list) -> list:
        process = str(self._hosts[host])
        return ["nsenter", "-t", process, "-n", "-m", "-u", f"--wdns={self.project}", *words]

    def _start(self, words: list) -> subprocess.Popen:
        with open(self.folder / "log" / "started.log", "a") as log:
            process = subprocess.Popen(
                words, env=self.environment(), stdout=log, stderr=log, start_new_session=True, cwd=self.project
            )
        self._processes.append(process)
        return process

    def _files(self) -> None:
        folder = self.folder
        lines = [f"10.77.0.{number} {name}" for number, name in enumerate(HOSTS, 1)]
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o400)
        for name in ("id", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/id.pub\nStrictModes no\nUsePAM no\n"
            f"PermitRootLogin prohibit-password\nPidFile none\n"
        )
        ssh = folder / "bin" / "ssh"
        ssh.write_text(
            f"#!/bin/sh\nexec /usr/bin/ssh -i {folder}/id -o StrictHostKeyChecking=no -o LogLevel=ERROR "
            '-o UserKnownHostsFile=/dev/null "$@"\n'
        )
        ssh.chmod(0o755)
        nodes = [
            f"NodeName={name} NodeAddr=10.77.0.{number} CPUs=128 RealMemory=100000 Gres=gpu:a100:16 Features=gpu,knl"
            for number, name in enumerate(HOSTS, 1)
        ]
        nodes += [
            f"PartitionName={name} Nodes=ALL Default={'YES' if name == 'all' else 'NO'} MaxTime=INFINITE State=UP"
            for name in _PARTITIONS
        ]
        (folder / "slurm.conf").write_text(_SLURM.format(D=folder, nodes="\n".join(nodes)))
        for number in range(16):  # Slurm counts GPUs by their device files
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"Name=gpu Type=a100 File={folder}/gpu[0-15]\n")
        (folder / "mpi.conf").write_text(f"PMIxCliTmpDirBase={folder}/pmix\n")

    def _network(self) -> None:
        bridge = f"{self._prefix}bridge"

        def ip(*words: str) -> None:
            subprocess.run(["ip", *words], check=True)

        ip("netns", "add", bridge)
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "up")
        for number, name in enumerate(HOSTS, 1):
            host = f"{self._prefix}{name}"
            ip("netns", "add", host)
            ip("-n", bridge, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("-n", bridge, "link", "set", f"v{number}", "master", "br0", "up")
            ip("-n", host, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", host, "link", "set", "lo", "up")

    def _start_host(self, number: int, name: str) -> None:
        folder = self.folder
        (folder / f"pmix{number}").mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        inside = (
            f"hostname {name} && mount --bind {folder}/hosts /etc/hosts && "
            f"mount --bind {folder}/pmix{number} {folder}/pmix && exec /usr/sbin/sshd -D -f {folder}/sshd_config"
        )
        namespace = f"--net=/run/netns/{self._prefix}{name}"
        process = self._start(
            ["nsenter", namespace, "unshare", "-m", "-u", "--propagation", "private", "bash", "-c", inside]
        )
        self._hosts[name] = process.pid
        _wait(lambda: b"sshd" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0], name)


def _wait(ready, what, timeout: int = 60) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < deadline, f"{what} was not ready after {timeout} s"
        time.sleep(0.3)
