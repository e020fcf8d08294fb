#!/bin/bash
# The Autobahn cases against an echo server of askrd's own WebSocket modules: tests/autobahn/run.sh
# Loopback only. What it installs, and the report for people (index.html), are in target/autobahn.
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
OUT=$TARGET/autobahn
GROUPS_RUN=(1 2 3 4 5 6 7 9 10)
LIMIT=300   # seconds for all cases; they take about ten

fail() { echo "autobahn: $*" >&2; exit 1; }
command -v python3 >/dev/null || fail "python3 is missing (apt install python3 python3-venv)"

mkdir -p "$OUT"
if ! cmp -s tests/autobahn/requirements.txt "$OUT/installed"; then
  rm -rf "$OUT/venv"
  python3 -m venv "$OUT/venv" || fail "no virtual environment (apt install python3-venv)"
  "$OUT/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r tests/autobahn/requirements.txt
  cp tests/autobahn/requirements.txt "$OUT/installed"
fi

# As `make test-rust` has built it, with the whole workspace's features: nothing is compiled for these cases alone.
${CARGO:-cargo} build --quiet --locked --workspace --example ws_echo

rm -rf "$OUT/report" && mkdir "$OUT/report"
coproc ECHO { exec "$TARGET/debug/examples/ws_echo" 127.0.0.1:0 2>"$OUT/echo.log"; }
echo_pid=$ECHO_PID
trap 'kill "$echo_pid" 2>/dev/null || true' EXIT
# It tells its address once it listens.
read -r -t 20 _ _ address <&"${ECHO[0]}" || fail "the echo server did not start: $(cat "$OUT/echo.log")"

include=()
for group in "${GROUPS_RUN[@]}"; do include+=(-i "$group.*"); done
# A case that fails is told by the check, which reads the report.
timeout "$LIMIT" "$OUT/venv/bin/kosoku" -m fuzzingclient "${include[@]}" -p 2 -o "$OUT/report" "$address" \
  >"$OUT/run.log" 2>&1 || true
[ -e "$OUT/report/index.json" ] || fail "there is no report: $(cat "$OUT/run.log")"
python3 tests/autobahn/check.py "$OUT/report/index.json"
