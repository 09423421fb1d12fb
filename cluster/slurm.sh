#!/usr/bin/env bash
# One run on the nodes of a Slurm job:
#   sbatch --nodes=2 cluster/slurm.sh experiment=fusechat3_llama31_8b
# Ray comes up on all nodes, the run goes on the first, and everything ends with the job. The same command again goes on
# from what is committed, so a job that hit its time limit is simply submitted again. FUSION_ROOT is the checkout (with
# .venv), FUSION_HOME the folder of stores and runs; both on a disk that all nodes see.
#SBATCH --job-name=fusion
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=2-00:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --output=fusion-%j.log
set -euo pipefail

root="${FUSION_ROOT:-$SLURM_SUBMIT_DIR}"
home="${FUSION_HOME:-$root}"
port=$((20000 + SLURM_JOB_ID % 20000))
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${nodes[0]}"
head_ip="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')"

# Nodes of a Slurm cluster are shared: who has no token gets nothing. It lies where only this user reads it.
umask 077
secret="$(mktemp -d "$home/.fusion-$SLURM_JOB_ID-XXXXXX")"
"$root/.venv/bin/python" -c 'import secrets; print(secrets.token_hex(32), end="")' > "$secret/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secret/token" RAY_USAGE_STATS_ENABLED=0 FUSION_HOME="$home"

steps=()
# shellcheck disable=SC2329  # called by the trap
finish() {
    for step in "${steps[@]}"; do
        kill "$step" 2>/dev/null || true
    done
    wait || true
    rm -rf "$secret"
}
trap finish EXIT

start() { # node, what Ray is told
    local node="$1"
    shift
    srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
        "$root/.venv/bin/ray" start "$@" --num-cpus="$SLURM_CPUS_PER_TASK" \
        --temp-dir="/tmp/fusion-$SLURM_JOB_ID" --block &
    steps+=("$!")
}

start "$head" --head --node-ip-address="$head_ip" --port="$port" --dashboard-host=127.0.0.1
for _ in $(seq 120); do # this is the first node: a script of sbatch runs there
    (exec 3<> "/dev/tcp/$head_ip/$port") 2> /dev/null && break
    sleep 1
done
for node in "${nodes[@]:1}"; do
    start "$node" --address="$head_ip:$port"
done

# shellcheck disable=SC2016  # the shell of the step expands it
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap --chdir="$home" \
    bash -c 'echo "$SLURM_STEP_ID" > "$0"; exec "$@"' "$secret/step" \
    "$root/.venv/bin/fusion" run cluster=slurm "cluster.ray.address=$head_ip:$port" "$@" &
run="$!"
# Ctrl-C for the run three minutes before the time limit: it saves a checkpoint and ends with 130. To srun itself the
# first Ctrl-C is a question for the state of its tasks.
trap 'scancel --signal=INT "$SLURM_JOB_ID.$(cat "$secret/step")" || true' TERM
code=0
wait "$run" || code=$?
if [ "$code" -gt 128 ] && kill -0 "$run" 2>/dev/null; then # it was this script that got the signal
    code=0
    wait "$run" || code=$?
fi
exit "$code"
