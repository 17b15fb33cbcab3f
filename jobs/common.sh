# shellcheck shell=bash
# What all job scripts share; sourced by them, with their arguments: CONFIG [key=value ...].
#
#   software [MODULE...]        load the site's modules and Python: the image in CONTAINER, else .venv
#   environment                 set variables that every rank needs
#   slingshot                   set those that NCCL and MPI need on HPE's network
#   gpus_here                   print the number of GPUs that this process may use
#   check GPUS_A_NODE           check the config, free space, and GPUs, on one node, before any rank starts
#   run_until_warned COMMAND... run it; on the scheduler's warning it stops at a checkpoint and the job is requeued
#   launch [SRUN OPTION...]     start the program on this Slurm job's ranks, by LAUNCHER
#   by_horovodrun RANKS [...]   the same by horovodrun, over Gloo
#   by_common_run RANKS         the same on this machine, by common.run: output without prefixes, one line at a failure
#   run_with_restarts           run it by common.run, and again on the remaining nodes if a rank or node is lost; Slurm,
#                               with ssh between nodes; #SBATCH --no-kill keeps the job when one of them goes down
#   hosts SLOTS                 print this Slurm job's nodes in the form of horovodrun's -H
#
# SITE_MODULES, CONTAINER, MPI, LAUNCHER and INTERFACE in the environment change what a script does (jobs/README.md).
# After `parse "$@"`, `program` holds the arguments of python: -m tf_deepcam train --config FILE key=value --resume auto.

jobs=$(cd "${BASH_SOURCE[0]%/*}" && pwd)

fail() { printf 'job: %s\n' "$*" >&2; exit 1; }

parse() {
    config=${1:?"job: give a config, such as config/deepcam/nersc10.yaml, and key=value overrides"}
    shift
    [ -f "$config" ] || fail "$config: no such file (in $PWD)"
    python=${PYTHON:-python}
    # The recipe's `benchmark:` names the program, unless the environment has COMMAND="tf_deepcam infer".
    local words
    words=${COMMAND:-$("$python" -m common.config program "$config")} || exit 1
    read -r benchmark command <<<"$words"
    overrides=("$@")
    # The run folder is named after the job, so that a requeued job resumes in the same one.
    local id=${SLURM_JOB_ID:-${LSB_JOBID:-}} resume=()
    [ -z "${RUN_NAME:-}$id" ] || overrides+=("output.run_name=${RUN_NAME:-$benchmark-$id}")
    case $command in run | train) [ -z "$id" ] || resume=(--resume auto) ;; esac
    # shellcheck disable=SC2034 # the scripts use it
    program=(-m "$benchmark" "$command" --config "$config" "${overrides[@]}" "${resume[@]}")
}

software() {
    local names=("$@")
    if [ -n "${SITE_MODULES+set}" ]; then read -ra names <<<"$SITE_MODULES"; fi
    if [ ${#names[@]} -gt 0 ]; then
        command -v module >/dev/null 2>&1 ||
            fail "there is no 'module' command on $(hostname) to load ${names[*]}: set SITE_MODULES to other modules, or to nothing"
        set +u # module systems use unset variables
        module load "${names[@]}" || fail "'module load ${names[*]}' failed: name the site's own in SITE_MODULES"
        set -u
    fi
    if [ -n "${CONTAINER:-}" ]; then
        [ -e "$CONTAINER" ] || fail "CONTAINER is $CONTAINER, which does not exist: build it (jobs/container/apptainer.def)"
        command -v apptainer >/dev/null 2>&1 || fail "CONTAINER is set, but there is no 'apptainer' on $(hostname)"
        export CONTAINER PYTHON=$jobs/container/python # python in the image, on every node
    elif [ -z "${VIRTUAL_ENV:-}" ] && [ -f .venv/bin/activate ]; then
        . .venv/bin/activate
    fi
}

environment() {
    # Slurm 22.05 and newer do not pass --cpus-per-task on to srun: each rank would be bound to one core.
    if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
    export TF_CPP_MIN_LOG_LEVEL=3           # no start-up lines of TensorFlow from every rank
    export PYTHONUNBUFFERED=1               # the job's output shows lines as they are written
    export HDF5_USE_FILE_LOCKING=FALSE      # parallel file systems often have no locks, and input is only read
    export OMP_NUM_THREADS=${CORES_A_RANK:-${SLURM_CPUS_PER_TASK:-1}} # libraries other than TensorFlow
    export OMPI_MCA_mpi_yield_when_idle=1   # Open MPI's polling takes cores from the computation (65 % against 95 %)
    export HOROVOD_GLOO_TIMEOUT_SECONDS=${HOROVOD_GLOO_TIMEOUT_SECONDS:-120} # a peer that has gone ends the run
    export HOROVOD_STALL_CHECK_TIME_SECONDS=60      # a rank that keeps the others waiting is named,
    export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=${HOROVOD_STALL_SHUTDOWN_TIME_SECONDS:-300} # and then the run is ended
    if [ -n "${INTERFACE:-}" ]; then        # the fast network, where the default route is another one
        [ -e "/sys/class/net/$INTERFACE" ] ||
            fail "INTERFACE is $INTERFACE, but $(hostname) has $(printf '%s ' /sys/class/net/* | sed 's|/sys/class/net/||g')"
        export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$INTERFACE} HOROVOD_GLOO_IFACE=$INTERFACE
        export OMPI_MCA_btl_tcp_if_include=$INTERFACE OMPI_MCA_oob_tcp_if_include=$INTERFACE
    fi
}

slingshot() { # to be called before `environment`
    local folder folders
    INTERFACE=${INTERFACE-hsn0}
    export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-hsn}              # all of a node's cards
    export FI_CXI_DISABLE_HOST_REGISTER=1 NCCL_NET_GDR_LEVEL=PHB
    export MPICH_GPU_SUPPORT_ENABLED=0                               # NCCL moves the gradients, MPI only starts the ranks
    IFS=: read -ra folders <<<"${LD_LIBRARY_PATH:-}"
    for folder in "${folders[@]}"; do
        if [ -e "$folder/libnccl-net.so" ]; then
            export NCCL_NET="AWS Libfabric"                          # its name for libfabric; NCCL then fails rather than use TCP
            return
        fi
    done
    echo "job: no libnccl-net.so on LD_LIBRARY_PATH: NCCL will use TCP between nodes; load the site's OFI plugin (SITE_MODULES)"
}

gpus_here() {
    local names count=0
    case ${CUDA_VISIBLE_DEVICES-all} in
        "" | -1* | NoDevFiles*) count=0 ;;
        all)
            if names=$(nvidia-smi --list-gpus 2>/dev/null); then
                count=$(grep -c '^GPU ' <<<"$names" || true)
            elif names=$(rocm-smi --showid 2>/dev/null); then # AMD's, which obeys ROCR_VISIBLE_DEVICES
                count=$(grep -o '^GPU\[[0-9]*\]' <<<"$names" | sort -u | wc -l)
            fi
            ;;
        *) count=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .) ;;
    esac
    echo "$count"
}

check() {
    local available gpus=$1 folder free
    "$python" -m common.config show "$benchmark" "$config" "${overrides[@]}" >/dev/null || exit 1
    if [ "$gpus" -gt 0 ]; then
        available=$(gpus_here)
        [ "$available" = "$gpus" ] || fail "$gpus GPUs per node were requested, but $(hostname) has $available"
    fi
    for folder in "$PWD" "${TMPDIR:-/tmp}"; do
        free=$(df --output=avail -k "$folder" | tail -n 1)
        [ "$free" -gt "${FREE_KB:-10485760}" ] || fail "$folder: $((free / 1048576)) GiB free, 10 GiB needed"
    done
}

launch() {
    local launcher=${LAUNCHER:-} mpi=${MPI:-pmix} ranks=${RANKS:-$SLURM_NTASKS} why
    if [ -z "$launcher" ]; then
        launcher=srun
        if ! why=$(two_ranks_meet "$mpi"); then
            echo "job: srun --mpi=$mpi does not work with this Horovod (${why:-no answer in time}): using horovodrun over Gloo"
            launcher=horovodrun
        fi
    fi
    case $launcher in # over MPI, ranks would wait forever for one that was killed, so srun ends them
        srun) run_until_warned srun --mpi="$mpi" --kill-on-bad-exit=1 "$@" "$python" "${program[@]}" ;;
        mpirun) run_until_warned mpirun --bind-to none -np "$ranks" "$python" "${program[@]}" ;;
        horovodrun) by_horovodrun "$ranks" -H "$(hosts "$((ranks / SLURM_NNODES))")" ;; # without -H all land on one node
        *) fail "LAUNCHER is '$launcher': must be srun, mpirun or horovodrun" ;;
    esac
}

two_ranks_meet() { # two_ranks_meet MPI: succeeds if two ranks started by srun find each other, else prints why not
    local output
    [ "${RANKS:-$SLURM_NTASKS}" -gt 1 ] || return 0
    output=$(timeout 180 srun --mpi="$1" --ntasks=2 "$python" -c \
        'from common import distributed; distributed.init(uses_gpu=False)' 2>&1) && return
    output=$(grep -m 1 -E '^(srun: error|[^ ]*Error): ' <<<"$output" || tail -n 1 <<<"$output")
    echo "${output##*Error: }"
    return 1
}

by_horovodrun() {
    local ranks=$1 launcher=(horovodrun) inside=$python
    shift
    if [ -n "${CONTAINER:-}" ]; then # the launcher is in the image too, and starts programs of the image
        [ "${SLURM_NNODES:-1}" = 1 ] || fail "horovodrun cannot reach into CONTAINER on other nodes: use srun, or one node"
        launcher=("$python" -m horovod.runner.launch) inside=python
    fi
    run_until_warned "${launcher[@]}" --gloo -np "$ranks" "$@" "$inside" "${program[@]}"
}

by_common_run() { run_until_warned "$python" -m common.run -np "$1" -- "${program[@]:1}"; }

run_with_restarts() {
    run_until_warned "$python" -m common.run --restarts "${RESTARTS:-3}" --min-np "${MIN_RANKS:-1}" \
        -np "$SLURM_NTASKS" -H "$(hosts "$((SLURM_NTASKS / SLURM_NNODES))")" -- "${program[@]:1}"
}

hosts() { scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/:$1/" | paste -sd,; }

run_until_warned() {
    local code=0 pid
    export BENCHMARK_RUN=${SLURM_JOB_ID:-${LSB_JOBID:-}}-$HOSTNAME-$$ # marks this job's own processes
    # Here the ranks write how they ended (common/distributed/status.py).
    export RUN_STATUS_FOLDER=$PWD/.run-status-$BENCHMARK_RUN
    mkdir -p "$RUN_STATUS_FOLDER"
    # Signals this job's processes on this node that catch SIGUSR1: the ranks that train, and srun and mpirun, which pass
    # it on. It would end any other process.
    # shellcheck disable=SC2317 # trap calls it
    warn() {
        local process caught
        for process in $(pgrep -u "$(id -u)"); do
            tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qxF "BENCHMARK_RUN=$BENCHMARK_RUN" || continue
            caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$process/status" 2>/dev/null) || continue
            (((16#${caught:-0} >> 9) & 1)) && [ "$process" != "$$" ] && kill -USR1 "$process" 2>/dev/null
        done
        true
    }
    trap warn USR1
    "$@" &
    pid=$!
    while true; do # wait returns early on a signal
        code=0
        wait "$pid" || code=$?
        kill -0 "$pid" 2>/dev/null || break
    done
    trap - USR1
    # 75: stopped at a checkpoint. Under horovodrun the exit code is 1, hence the look at the files.
    if [ "$code" != 0 ] && grep -qs '"kind": "stopped"' "$RUN_STATUS_FOLDER"/ending-*.json; then code=75; fi
    rm -rf "$RUN_STATUS_FOLDER"
    unset RUN_STATUS_FOLDER
    if [ "$code" = 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
        echo "job: stopped at a checkpoint before the time limit; requeued, to resume there"
        scontrol requeue "$SLURM_JOB_ID" ||
            echo "job: requeueing failed; submit again with RUN_NAME=$benchmark-$SLURM_JOB_ID"
    elif [ "$code" = 75 ]; then
        echo "job: stopped at a checkpoint; submit again with RUN_NAME=$benchmark-${LSB_JOBID:-} to resume"
    elif [[ $code =~ ^13[4579]$ && -n ${SLURM_JOB_ID:-} ]] && # SIGABRT, SIGBUS, SIGKILL, SIGSEGV; not Ctrl-C or scancel
        [ "${SLURM_RESTART_COUNT:-0}" -lt "${REQUEUES:-0}" ]; then
        echo "job: a rank was killed; requeued, to resume from its last checkpoint"
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$code"
}
