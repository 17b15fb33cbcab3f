#!/usr/bin/env bash
# Machine:  one NVIDIA DGX without a scheduler: 8 GPUs (A100, H100) or 16 (DGX-2, V100), NVLink between them.
# Shape:    1 node of 8 GPUs
# Edit:     GPUS if it is not 8.
# Run:      GPUS=8 bash jobs/sites/dgx.sh config/deepcam/rcp_128.yaml data.data_dir_prefix=/raid/deepcam
# Expected: not run on such a machine. Source: NVIDIA's NCCL documentation (environment variables).
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "$0")/../common.sh"
software
parse "$@"
gpus=${GPUS:-8}
environment
export NCCL_P2P_LEVEL=${NCCL_P2P_LEVEL:-NVL} # GPUs communicate over NVLink,
export NCCL_IB_DISABLE=1                     # and no network card is needed inside one machine
check "$gpus"
by_horovodrun "${RANKS:-$gpus}"
