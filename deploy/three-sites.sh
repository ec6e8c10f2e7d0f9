#!/usr/bin/env bash
# A centre and three sites on this machine: real processes, TLS, node keys.
#
#   deploy/three-sites.sh PICTURES [FOLDER]
#
# PICTURES holds one folder of pictures per site, three of them. Everything goes to
# FOLDER (./out/three-sites by default). BASE, STEPS, PORT and BIN may be set.
set -euo pipefail

pictures=${1:?usage: deploy/three-sites.sh PICTURES [FOLDER]}
folder=${2:-out/three-sites}
base=${BASE:-mini}
port=${PORT:-9092}
bin=${BIN:-$(cd "$(dirname "$0")/.." && pwd)/.venv/bin}
steps=${STEPS:+--steps $STEPS}

mapfile -t data < <(find "$pictures" -mindepth 1 -maxdepth 1 -type d | sort)
if [ "${#data[@]}" -ne 3 ]; then
  echo "$pictures: holds ${#data[@]} folders; three are needed, one per site" >&2
  exit 2
fi

running=()
stop() {
  [ "${#running[@]}" -eq 0 ] || kill -TERM "${running[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT

mkdir -p "$folder"
"$bin/mos-server" serve --home "$folder/centre" --address "127.0.0.1:$port" \
  --base "$base" --fuse-after 20 &
running+=($!)

joined=()
for number in 1 2 3; do
  site="site-$number"
  "$bin/mos-client" enroll --name "$site" --home "$folder/$site" \
    --out "$folder/$site.request"
  "$bin/mos-server" admit "$folder/$site.request" --out "$folder/$site.welcome" \
    --home "$folder/centre" --address "127.0.0.1:$port" --base "$base"
done
for number in 1 2 3; do
  site="site-$number"
  # shellcheck disable=SC2086
  "$bin/mos-client" tune --data "${data[$((number - 1))]}" --base "$base" $steps \
    --home "$folder/$site" --out "$folder/$site.safetensors"
done
for number in 1 2 3; do
  site="site-$number"
  "$bin/mos-client" join "$folder/$site.welcome" --home "$folder/$site" \
    --until-release 1 &
  joined+=($!)
  running+=($!)
done
for pid in "${joined[@]}"; do
  wait "$pid"
done
echo "every site holds release 1: $folder/site-1/releases/0001.safetensors"
