#!/usr/bin/env bash
# Executes the Dockerfile's steps (CPU) in a plain folder, for machines without a container engine; as root.
# usage: bash jobs/container/run_in_folder.sh FOLDER     makes FOLDER with debootstrap; needs 5 GiB and some ten minutes
# COPY and WORKDIR are done as Docker does them; each RUN line runs in the folder with chroot. It stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=${1:?"usage: run_in_folder.sh FOLDER"}
[ -d "$root/etc" ] || debootstrap --variant=minbase bookworm "$root" "${MIRROR:-http://deb.debian.org/debian}"
mkdir -p "$root/proc" "$root/dev"
mountpoint -q "$root/proc" || mount --bind /proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
trap 'umount "$root/proc" "$root/dev"' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
for file in ${EXTRA_FILES:-}; do install -D "$file" "$root$file"; done # such as a site's package mirror and certificates
read -ra extra <<<"${EXTRA_ENV:-}"
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
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
            chroot "$root" env -i HOME=/root "PATH=$path" "${extra[@]}" GPU= SYSTEM_TENSORFLOW= "${environment[@]}" \
                bash -o pipefail -c "cd $directory && $rest"
            ;;
    esac
done < <(sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' jobs/container/Dockerfile | grep -Ev '^\s*(#|$)')
echo "all RUN lines of jobs/container/Dockerfile were executed in $root"
