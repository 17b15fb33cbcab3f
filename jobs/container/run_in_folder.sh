#!/usr/bin/env bash
# Executes the Dockerfile's steps in a plain folder, for machines without a container engine; as root.
# usage: bash jobs/container/run_in_folder.sh FOLDER     makes FOLDER with debootstrap; needs 5 GiB and some ten minutes
# SUITE=trixie in the environment makes it of another Debian. GPU=1 CUDA=/usr/local/cuda-13.0 builds for GPUs on what NVIDIA's
# CUDA images are: a plain system with that toolkit in /usr/local/cuda and its nvcc on PATH.
# COPY and WORKDIR are done as Docker does them; each RUN line runs in the folder with chroot. It stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=${1:?"usage: run_in_folder.sh FOLDER"}
[ -d "$root/etc" ] || debootstrap --variant=minbase "${SUITE:-bookworm}" "$root" "${MIRROR:-http://deb.debian.org/debian}"
mkdir -p "$root/proc" "$root/dev"
mountpoint -q "$root/proc" || mount --bind /proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -n "${CUDA:-}" ]; then
    mkdir -p "$root/usr/local/cuda"
    mountpoint -q "$root/usr/local/cuda" || mount --bind "$CUDA" "$root/usr/local/cuda"
    path=/usr/local/cuda/bin:$path
fi
trap 'umount "$root/proc" "$root/dev" ${CUDA:+"$root/usr/local/cuda"}' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
for file in ${EXTRA_FILES:-}; do install -D "$file" "$root$file"; done # such as a site's package mirror and certificates
read -ra extra <<<"${EXTRA_ENV:-}"
directory=/ environment=()
while IFS= read -r line; do
    read -r word rest <<<"$line"
    case $word in
        WORKDIR) directory=$rest; mkdir -p "$root$directory" ;;
        COPY)
            read -ra names <<<"$rest"
            target=$root$directory/${names[-1]}
            [ "${#names[@]}" -gt 2 ] || [ ! -d "${names[0]}" ] || rm -rf "$target"
            cp -r "${names[@]:0:${#names[@]}-1}" "$target"
            ;;
        ENV) read -ra words <<<"$rest"; environment+=("${words[@]/:\$PATH/:$path}") ;;
        RUN)
            echo "== RUN $rest"
            chroot "$root" env -i HOME=/root "PATH=$path" "${extra[@]}" "GPU=${GPU:-}" SYSTEM_TENSORFLOW= "${environment[@]}" \
                bash -o pipefail -c "cd $directory && $rest"
            ;;
    esac
done < <(sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' jobs/container/Dockerfile | grep -Ev '^\s*(#|$)')
echo "all RUN lines of jobs/container/Dockerfile were executed in $root"
