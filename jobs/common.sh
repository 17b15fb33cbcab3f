# shellcheck shell=bash
# What all job scripts share; sourced by them, with their arguments: CONFIG [key=value ...].
#
#   environment                 variables that every rank needs
#   gpus_here                   the number of GPUs that this process may use
#   check GPUS_A_NODE           the config, free space, and GPUs, on one node, before any rank starts
#   run_until_warned COMMAND... the run; on the scheduler's warning it ends at a checkpoint and the job is requeued
#   run_with_restarts           the run by common.run, again on what is left after a lost rank or node; Slurm, with ssh
#                               between nodes; #SBATCH --no-kill keeps the job when one of them goes down
#   hosts SLOTS                 this Slurm job's nodes as horovodrun's -H wants them
#
# After `parse "$@"`, program is the words behind `python`: -m tf_deepcam train --config FILE key=value --resume auto.

fail() { printf 'job: %s\n' "$*" >&2; exit 1; }

parse() {
    config=${1:?"job: give a config, such as config/deepcam/nersc10.yaml, and key=value overrides"}
    shift
    [ -f "$config" ] || fail "$config: no such file (in $PWD)"
    python=${PYTHON:-python}
    # By the recipe's `benchmark:`; COMMAND="tf_deepcam infer" in the environment runs something else.
    local words
    words=${COMMAND:-$("$python" -m common.config program "$config")} || exit 1
    read -r benchmark command <<<"$words"
    overrides=("$@")
    # The run's folder is the job's: requeued, it goes on in the same one.
    local id=${SLURM_JOB_ID:-${LSB_JOBID:-}} resume=()
    [ -z "$id" ] || overrides+=("output.run_name=${RUN_NAME:-$benchmark-$id}")
    case $command in run | train) [ -z "$id" ] || resume=(--resume auto) ;; esac
    # shellcheck disable=SC2034 # the scripts use it
    program=(-m "$benchmark" "$command" --config "$config" "${overrides[@]}" "${resume[@]}")
}

environment() {
    export TF_CPP_MIN_LOG_LEVEL=3           # TensorFlow's start-up lines, once a rank
    export PYTHONUNBUFFERED=1               # lines reach the job's output when they are written
    export HDF5_USE_FILE_LOCKING=FALSE      # parallel file systems often have no locks, and nothing writes its input
    export OMP_NUM_THREADS=${CORES_A_RANK:-${SLURM_CPUS_PER_TASK:-1}} # libraries other than TensorFlow
    export OMPI_MCA_mpi_yield_when_idle=1   # Open MPI's polling takes cores from the computation (65 % against 95 %)
    export HOROVOD_GLOO_TIMEOUT_SECONDS=${HOROVOD_GLOO_TIMEOUT_SECONDS:-120} # a peer that has gone ends the run
    export HOROVOD_STALL_CHECK_TIME_SECONDS=60      # a rank that others wait for is named,
    export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=${HOROVOD_STALL_SHUTDOWN_TIME_SECONDS:-300} # and the run ended
    if [ -n "${INTERFACE:-}" ]; then        # the fast network, where the default route is another one
        export NCCL_SOCKET_IFNAME=$INTERFACE HOROVOD_GLOO_IFACE=$INTERFACE
        export OMPI_MCA_btl_tcp_if_include=$INTERFACE OMPI_MCA_oob_tcp_if_include=$INTERFACE
    fi
}

gpus_here() {
    local names found=0
    case ${CUDA_VISIBLE_DEVICES-all} in
        "" | -1* | NoDevFiles*) found=0 ;;
        all) if names=$(nvidia-smi --list-gpus 2>/dev/null); then found=$(grep -c '^GPU ' <<<"$names" || true); fi ;;
        *) found=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .) ;;
    esac
    echo "$found"
}

check() {
    local found gpus=$1 folder free
    "$python" -m common.config show "$benchmark" "$config" "${overrides[@]}" >/dev/null || exit 1
    if [ "$gpus" -gt 0 ]; then
        found=$(gpus_here)
        [ "$found" = "$gpus" ] || fail "$gpus GPUs per node were asked for, $found are found on $(hostname)"
    fi
    for folder in "$PWD" "${TMPDIR:-/tmp}"; do
        free=$(df --output=avail -k "$folder" | tail -n 1)
        [ "$free" -gt "${FREE_KB:-10485760}" ] || fail "$folder: $((free / 1048576)) GiB are free, 10 are needed"
    done
}

run_with_restarts() {
    run_until_warned "$python" -m common.run --restarts "${RESTARTS:-3}" --min-np "${MIN_RANKS:-1}" \
        -np "$SLURM_NTASKS" -H "$(hosts "$((SLURM_NTASKS / SLURM_NNODES))")" -- "${program[@]:1}"
}

hosts() { scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/:$1/" | paste -sd,; }

run_until_warned() {
    local code=0 pid before=0
    [ ! -f "${OUTPUT:-}" ] || before=$(wc -c <"$OUTPUT") # an earlier try's lines are in it too
    export BENCHMARK_RUN=${SLURM_JOB_ID:-${LSB_JOBID:-}}-$HOSTNAME-$$ # by which this job's own ranks are known
    # The ranks of this node; they tell the others. A launcher has other words behind its `python`.
    # shellcheck disable=SC2317 # trap calls it
    warn() {
        local rank
        for rank in $(pgrep -u "$(id -u)" -f "^[^ ]*python[0-9.]* -m (tf_deepcam|cloudmask) "); do
            if tr '\0' '\n' <"/proc/$rank/environ" 2>/dev/null | grep -qxF "BENCHMARK_RUN=$BENCHMARK_RUN"; then
                kill -USR1 "$rank" 2>/dev/null || true
            fi
        done
    }
    trap warn USR1
    "$@" &
    pid=$!
    while true; do # wait returns early when a signal comes
        code=0
        wait "$pid" || code=$?
        kill -0 "$pid" 2>/dev/null || break
    done
    trap - USR1
    # 75: stopped at a checkpoint. horovodrun ends with 1 instead, after this line of the program's.
    if [ "$code" != 0 ] && tail -c "+$((before + 1))" "${OUTPUT:-/dev/null}" 2>/dev/null |
        grep -q "stopped: after update"; then code=75; fi
    if [ "$code" = 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
        echo "job: stopped at a checkpoint before the time limit; requeued, it goes on from there"
        scontrol requeue "$SLURM_JOB_ID" ||
            echo "job: that failed; submit again with RUN_NAME=$benchmark-$SLURM_JOB_ID"
    elif [ "$code" = 75 ]; then
        echo "job: stopped at a checkpoint; submit again with RUN_NAME=$benchmark-${LSB_JOBID:-} to go on"
    elif [[ $code =~ ^13[4579]$ && -n ${SLURM_JOB_ID:-} ]] && # SIGABRT, SIGBUS, SIGKILL, SIGSEGV; not Ctrl-C or scancel
        [ "${SLURM_RESTART_COUNT:-0}" -lt "${REQUEUES:-0}" ]; then
        echo "job: a rank was killed; requeued, it goes on from its last checkpoint"
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$code"
}
