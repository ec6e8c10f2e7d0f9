#!/usr/bin/env bash
# A centre and three sites on this machine: real processes, TLS, node keys, each in a
# network namespace of its own where that is allowed, else beside each other on loopback.
#
#   deploy/three_sites.sh PICTURES [FOLDER]
#
# PICTURES holds one folder of pictures per site, three of them. What the centre and the
# sites keep goes to FOLDER (./out/three-sites by default), which must not exist yet.
# Ends once every site holds the release of all three concepts, and has checked it; no
# process and no namespace is left, however it ends. BASE, STEPS, PORT, BIN and
# SECONDS_AT_MOST may be set; NAMESPACES=no does without them. FRONT=nginx puts nginx
# with deploy/front.conf before the centre, which then listens on loopback alone.
set -euo pipefail

pictures=${1:?usage: deploy/three_sites.sh PICTURES [FOLDER]}
folder=${2:-out/three-sites}
base=${BASE:-mini}
port=${PORT:-9092}
bin=${BIN:-$(cd "$(dirname "$0")/.." && pwd)/.venv/bin}
steps=${STEPS:+--steps $STEPS}
seconds_at_most=${SECONDS_AT_MOST:-600}

mapfile -t data < <(find "$pictures" -mindepth 1 -maxdepth 1 -type d | sort)
if [ "${#data[@]}" -ne 3 ]; then
  echo "$pictures: holds ${#data[@]} folders; three are needed, one per site" >&2
  exit 2
fi
if [ -e "$folder" ]; then
  echo "$folder: is there already; remove it, or name another folder" >&2
  exit 2
fi

# Namespaces: one per machine, and one that is the switch between them.
prefix="mos$$"
running=()
stop() {
  code=$?
  [ "${#running[@]}" -eq 0 ] || kill -TERM "${running[@]}" 2>/dev/null || true
  wait
  for name in switch centre site-1 site-2 site-3; do
    ip netns delete "$prefix-$name" 2>/dev/null || true
  done
  exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

lay_cables() {
  local number=1
  ip netns add "$prefix-switch" || return 1
  ip -n "$prefix-switch" link add bridge type bridge || return 1
  ip -n "$prefix-switch" link set bridge up || return 1
  for name in centre site-1 site-2 site-3; do
    ip netns add "$prefix-$name" || return 1
    ip -n "$prefix-$name" link add eth0 type veth \
      peer name "port$number" netns "$prefix-switch" || return 1
    ip -n "$prefix-switch" link set "port$number" master bridge up || return 1
    ip -n "$prefix-$name" address add "10.213.0.$number/24" dev eth0 || return 1
    ip -n "$prefix-$name" link set eth0 up || return 1
    ip -n "$prefix-$name" link set lo up || return 1
    number=$((number + 1))
  done
}

if [ "${NAMESPACES:-yes}" = yes ] && [ "$(id -u)" -eq 0 ] && lay_cables 2>/dev/null; then
  echo "every machine has a network namespace of its own"
  host=10.213.0.1
  # Becomes the command: its process id is the command's.
  at() { exec ip netns exec "$prefix-$1" "${@:2}"; }
else
  echo "no network namespaces here: the centre and the sites are plain processes"
  host=127.0.0.1
  at() { exec "${@:2}"; }
fi

mkdir -p "$folder"
listen="$host:$port"
[ -z "${FRONT:-}" ] || listen="127.0.0.1:$((port + 1))"
(at centre "$bin/mos-server" serve --home "$folder/centre" --address "$listen" \
  --host "$host" --base "$base" --fuse-after 5) &
running+=($!)
if [ -n "${FRONT:-}" ]; then
  while [ ! -e "$folder/centre/tls/server.key" ]; do
    kill -0 "${running[0]}" 2>/dev/null || { echo "the centre ended" >&2; exit 1; }
    sleep 0.2
  done
  home=$(cd "$folder/centre" && pwd)
  sed -e "s|@HOME@|$home|g; s|@LISTEN@|$host:$port|g; s|@SUPERLINK@|$listen|g" \
    "$(dirname "$0")/front.conf" > "$home/front.conf"
  (at centre "$FRONT" -t -c "$home/front.conf")
  (at centre "$FRONT" -c "$home/front.conf" -g "daemon off;") &
  running+=($!)
fi

for number in 1 2 3; do
  site="site-$number"
  "$bin/mos-client" enroll --name "$site" --home "$folder/$site" \
    --out "$folder/$site.request"
  "$bin/mos-server" admit "$folder/$site.request" --out "$folder/$site.welcome" \
    --home "$folder/centre" --address "$host:$port" --base "$base"
  # shellcheck disable=SC2086
  (at "$site" "$bin/mos-client" tune --data "${data[$((number - 1))]}" --base "$base" \
    $steps --home "$folder/$site" --out "$folder/$site.safetensors")
done
for number in 1 2 3; do
  site="site-$number"
  (at "$site" "$bin/mos-client" join "$folder/$site.welcome" --home "$folder/$site") &
  running+=($!)
done

# The version of the first release that holds all three concepts; 0 while there is none.
whole_release() {
  "$bin/mos-server" releases --home "$folder/centre" --json | "$bin/python" -c '
import json, sys
found = json.load(sys.stdin)["releases"]
print(next((one["version"] for one in found if len(one["concepts"]) == 3), 0))'
}

version=0
holding=0
while [ "$holding" -lt 3 ]; do
  if [ "$SECONDS" -gt "$seconds_at_most" ]; then
    echo "not every site held the release after $seconds_at_most s" >&2
    exit 1
  fi
  for pid in "${running[@]}"; do
    kill -0 "$pid" 2>/dev/null || { echo "a program ended too early" >&2; exit 1; }
  done
  sleep 1
  [ "$version" -gt 0 ] || version=$(whole_release 2>/dev/null || echo 0)
  [ "$version" -gt 0 ] || continue
  file=$(printf '%04d.safetensors' "$version")
  # A site makes its folder of releases with the first one.
  holding=$(find "$folder"/site-? -path "*/releases/$file.sig" | wc -l)
done

for number in 1 2 3; do
  "$bin/mos-client" verify "$folder/site-$number/releases/$file" \
    --home "$folder/site-$number"
  cmp "$folder/centre/releases/$file" "$folder/site-$number/releases/$file"
done
echo "every site holds release $version, of three concepts: $folder/site-1/releases/$file"
