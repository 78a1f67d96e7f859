# Sourced by the benchmarks, which scripts/bench starts: the program, and a work directory below $BENCH_DIR that is removed at the end.
# shellcheck shell=bash disable=SC2034 # the benchmarks use these variables
. "${BASH_SOURCE[0]%/*}/../lib.sh"
[ -n "${BENCH_DIR:-}" ] || die "run: scripts/bench ${0##*/}"
cd "$ROOT" || exit
build_program
hermes=$ROOT/target/bin/hermes
work=$(mktemp -d "$BENCH_DIR/XXXXXX")
export HERMES_STORE=$work/store XDG_RUNTIME_DIR=$work XDG_STATE_HOME=$work/state HOME=$work/home LC_ALL=C.UTF-8
mkdir -p "$work/home" "$work/here"
engine="--root $work/engine --runroot $work/run --storage-driver overlay"
podman="podman $engine --cgroup-manager=cgroupfs --events-backend=file --runtime=runc"
wipe() { # DIRECTORY...; podman's storage contains files of other user ids
  podman unshare rm -rf "$work/engine" "$work/run" 2>/dev/null || true
  chmod -R u+rwX "$@" 2>/dev/null || true
  rm -rf "$@"
}
stop() {
  cd /
  wipe "$work/here"
  # podman's pause process keeps the mounts of its namespace alive.
  kill "$(cat "$work/libpod/tmp/pause.pid" 2>/dev/null)" 2>/dev/null || true
  chmod -R u+rwX "$work"
  rm -rf "$work"
  [ -z "${mirror:-}" ] || kill "$mirror"
  [ -z "${port:-}" ] || "$ROOT/scripts/registry" stop "$port"
}
trap stop EXIT
cd "$work/here" || exit
# Prints a table of the medians and minima in times.json (by hyperfine), and each median divided by that of row BASE (-1: the last).
table() { # TITLE UNIT FACTOR BASE COLUMN
  jq -r --arg title "$1" --arg unit "$2" --argjson factor "$3" --argjson base "$4" --arg column "$5" \
    'def rounded(unit): . * unit | round / unit; .results as $r | ($r[$base].median) as $b |
    "| \($title) | median \($unit) | min | \($column) |", "|---|---|---|---|",
    ($r[] | "| \(.command) | \(.median * $factor | rounded(100)) | \(.min * $factor | rounded(100)) | \(.median / $b | rounded(1000)) |")' "$work/times.json"
}
