#!/bin/bash
# Run a job on Dask workers, one per task of a SLURM allocation. The environment that is
# active at sbatch has the program with its extra `dask`; all paths are on a file system
# that the nodes share. A build that reaches its time limit continues with --resume.
#
#   sbatch --ntasks=64 deploy/slurm/dask.sh build --input=INDEX --output=FOLDER --resume ...
#
#SBATCH --job-name=imagenet-subsets
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
set -uo pipefail

folder=$(mktemp -d "$PWD/.dask-${SLURM_JOB_ID:-job}-XXXXXX") || exit 1
address=$folder/scheduler.json
finish() {
  [ "$BASHPID" = $$ ] || return # a subshell that a signal ends before its exec
  kill $(jobs -p)
  wait
  rm -r "$folder"
} 2> /dev/null
trap finish EXIT
trap 'exit 130' INT # until the job runs

# Other users can reach the ports, so each connection needs this key. Only this user can
# read the folder.
openssl_output=$(openssl req -x509 -newkey rsa:2048 -nodes -days 365 \
  -subj /CN=imagenet-subsets -addext keyUsage=critical,digitalSignature,keyCertSign \
  -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>&1) || {
  echo "$openssl_output" >&2
  exit 1
}
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$folder/cert.pem
for role in SCHEDULER WORKER CLIENT; do
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$folder/cert.pem"
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$folder/key.pem"
done

# The scheduler runs on the first node, like the job.
dask scheduler --protocol=tls --scheduler-file="$address" --port=0 --no-dashboard \
  --dashboard-address=127.0.0.1:0 > "$folder/scheduler.log" 2>&1 &
scheduler=$!
# The others continue when a worker dies.
srun --kill-on-bad-exit=0 dask worker --protocol=tls --scheduler-file="$address" \
  --nthreads=1 --death-timeout=300 --local-directory="${TMPDIR:-/tmp}" --no-dashboard \
  > "$folder/workers.log" 2>&1 &
workers=$!

fail() {
  tail -n 20 "$folder"/*.log >&2
  [ $# = 1 ] || echo "error: $2" >&2
  exit "$1"
}
runs() { kill -0 "$1" 2> /dev/null; }
# Wait for a process, but send it a signal when the workers end. (`wait -n` takes the ids
# of processes only since bash 5.1.)
wait_for() {
  while runs "$1"; do
    sleep 1 # a new subshell ignores SIGINT until it resets it
    if ! runs "$workers"; then
      kill "-$2" "$1"
      wait "$1"
      fail 1 "srun has ended, so no workers are left; see its last lines above"
    fi
  done
  wait "$1" || fail $?
}
until [ -s "$address" ]; do
  runs "$scheduler" || fail 1
  sleep 1
done
# The launcher checks the workers that are present. Background processes of a script
# ignore SIGINT unless their subshell resets it.
(trap - INT; exec python - "$address" 2> "$folder/waiting.log") << 'END' &
import sys
from distributed import Client

Client(scheduler_file=sys.argv[1]).wait_for_workers(1, timeout=300)
END
wait_for $! TERM
(trap - INT; exec python -m "pipelines.$1" "${@:2}" \
  --runner=DaskRunner --dask_scheduler_file="$address") &
launcher=$!
trap 'kill -INT "$launcher"' INT
trap 'kill -TERM "$launcher"' TERM
wait_for "$launcher" INT
