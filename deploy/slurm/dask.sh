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
  kill "$scheduler" "$workers"
  wait
  rm -r "$folder"
} 2> /dev/null
trap finish EXIT

# On the first node, as the job itself.
dask scheduler --scheduler-file="$address" --port=0 --no-dashboard \
  > "$folder/scheduler.log" 2>&1 &
scheduler=$!
# The others continue when a worker dies.
srun --kill-on-bad-exit=0 dask worker --scheduler-file="$address" --nthreads=1 \
  --death-timeout=300 --local-directory="${TMPDIR:-/tmp}" --no-dashboard \
  > "$folder/workers.log" 2>&1 &
workers=$!

until [ -s "$address" ]; do
  kill -0 "$scheduler" 2> /dev/null || { cat "$folder/scheduler.log" >&2; exit 1; }
  sleep 1
done
python -m "pipelines.$1" "${@:2}" \
  --runner=DaskRunner --dask_scheduler_file="$address" && exit
code=$?
tail -n 20 "$folder"/*.log >&2
exit $code
