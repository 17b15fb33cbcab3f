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

# What horovodrun gives every rank over Gloo (horovod.runner.gloo_run of 0.28.1).
_KINDS = ("HOROVOD_", "HOROVOD_LOCAL_", "HOROVOD_CROSS_")
_HOROVODRUN = tuple(f"{kind}{what}" for kind in _KINDS for what in ("RANK", "SIZE"))
_RENDEZVOUS = ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")

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


def check_variables(environment: Mapping) -> None:
    """Raise UserError for variables of horovodrun's that horovodrun did not set: with some of them, set by hand or left
    over, Horovod waits for ranks that nobody has started."""
    given = {name: environment[name] for name in _HOROVODRUN if name in environment}
    if not given:
        return
    names = " and ".join(given) if len(given) < 3 else f"{len(given)} of horovodrun's variables"
    problem = ""
    if len(given) < len(_HOROVODRUN):
        problem = f"{names} set, but not {next(name for name in _HOROVODRUN if name not in given)}"
    elif not all(value.isdigit() for value in given.values()):
        name = next(name for name, value in given.items() if not value.isdigit())
        problem = f"{name} is '{given[name]}', which is no number"
    elif any(int(given[f"{kind}RANK"]) >= int(given[f"{kind}SIZE"]) for kind in _KINDS):
        problem = f"HOROVOD_RANK is {given['HOROVOD_RANK']} of {given['HOROVOD_SIZE']} ranks, which cannot be"
    elif int(given["HOROVOD_SIZE"]) > 1 and not all(environment.get(name) for name in _RENDEZVOUS):
        problem = f"HOROVOD_SIZE is {given['HOROVOD_SIZE']}, but {_RENDEZVOUS[0]} is not set"
    if problem:
        raise UserError(
            f"{problem}: horovodrun sets these for the ranks that it starts: unset HOROVOD_*, and start several ranks "
            "by `python -m common.run -np N -- ...`"
        )


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
