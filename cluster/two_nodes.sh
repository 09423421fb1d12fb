#!/usr/bin/env bash
# Two Ray nodes on this machine, for as long as a command runs; the command finds the head in its environment:
#   cluster/two_nodes.sh fusion run experiment=quickstart cluster.ray.address=auto
#   cluster/two_nodes.sh fusion submit experiment=quickstart
# To try what a cluster does, without one. Everything listens on loopback, wants a token, and ends with the command.
set -euo pipefail
if [ "$#" -eq 0 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 2
fi
ray="${RAY:-$(command -v ray || echo .venv/bin/ray)}"
python="$(dirname "$ray")/python"
cpus="${CPUS:-4}" # of each node; more than there are cores, because light actors otherwise wait for each other

folder="$(mktemp -d /tmp/f2-XXXXXX)" # short: Ray puts sockets there
umask 077
"$python" -c 'import secrets; print(secrets.token_hex(32), end="")' > "$folder/token"
read -r gcs dashboard agent second client < <("$python" -c '
import socket
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(one.getsockname()[1] for one in free))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token" RAY_USAGE_STATS_ENABLED=0
export FUSION_HOME="${FUSION_HOME:-$PWD}"
PATH="$(cd "$(dirname "$ray")" && pwd):$PATH"
export PATH

nodes=()
finish() {
    for node in "${nodes[@]}"; do
        kill "$node" 2>/dev/null || true
    done
    wait || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

node() { # what Ray is told
    "$ray" start "$@" --node-ip-address=127.0.0.1 --min-worker-port=0 --max-worker-port=0 --num-cpus="$cpus" \
        --object-store-memory=100000000 --block > "$folder/log-${#nodes[@]}" 2>&1 &
    nodes+=("$!")
}

alive() { # how many nodes
    for _ in $(seq 120); do
        found="$(RAY_ADDRESS="127.0.0.1:$gcs" "$python" -c '
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))' "127.0.0.1:$gcs" 2>/dev/null || echo 0)"
        [ "$found" = "$1" ] && return
        sleep 1
    done
    echo "Ray did not come up with $1 nodes within two minutes; see what it said:" >&2
    tail -n 5 "$folder"/log-* >&2
    exit 1
}

node --head --port="$gcs" --dashboard-port="$dashboard" --dashboard-agent-listen-port="$agent" \
    --ray-client-server-port="$client" --temp-dir="$folder/r" --disable-usage-stats
alive 1
node --address="127.0.0.1:$gcs" --dashboard-agent-listen-port="$second"
alive 2
export RAY_ADDRESS="127.0.0.1:$gcs" RAY_API_SERVER_ADDRESS="http://127.0.0.1:$dashboard"
"$@"
