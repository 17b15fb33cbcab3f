"""What the launcher promised, so that a run never goes on with another number of ranks than it was started with.

A Horovod that was built without MPI and is started by srun or mpirun does not notice the other ranks: each trains
alone, as rank 0 of 1, and all write the same files. The variables are those that the launchers document.
"""

from collections.abc import Mapping
from typing import NamedTuple, Optional

from common.errors import UserError


class Promise(NamedTuple):
    launcher: str
    variable: str
    ranks: int
    rank: int  # this process's, as the launcher counts


# Launcher, its number of ranks, its number of this rank; the one that started this process itself comes first.
_KNOWN = (
    ("horovodrun", "HOROVOD_SIZE", "HOROVOD_RANK"),
    ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),
    ("mpiexec", "PMI_SIZE", "PMI_RANK"),
    # Inside a job step only: a batch script has SLURM_NTASKS too, though it is one process.
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)

_REMEDIES = {
    "srun": "use `srun --mpi=pmix` and a Horovod built with MPI (`horovodrun --check-build`), or start with horovodrun",
    "horovodrun": "start it with the horovodrun of the same environment",
}
_BUILD = "Horovod must be built with this MPI: `horovodrun --check-build`, `make venv` with mpicxx on PATH"


def promised(environment: Mapping) -> Optional[Promise]:
    """The launcher that started this process, by its environment; None without one."""
    for launcher, size, rank in _KNOWN:
        if environment.get(size, "").isdigit():
            own = environment.get(rank, "0")
            return Promise(launcher, size, int(environment[size]), int(own) if own.isdigit() else 0)
    return None


def started_rank(environment: Mapping) -> int:
    """This process's rank by its environment, which is known before Horovod is; 0 without a launcher."""
    promise = promised(environment)
    return promise.rank if promise else 0


def check_world(environment: Mapping, size: int) -> None:
    """Raises UserError if Horovod has another `size` than promised; in the others of such a world SystemExit(1),
    since each would print the same."""
    promise = promised(environment)
    if promise is None or promise.ranks == size:
        return
    if promise.rank > 0:
        raise SystemExit(1)
    raise UserError(
        f"{promise.launcher} started {promise.ranks} ranks ({promise.variable}), but Horovod sees {size}: they would "
        f"train apart; {_REMEDIES.get(promise.launcher, _BUILD)}"
    )
