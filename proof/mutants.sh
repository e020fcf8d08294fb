#!/bin/bash
# Mutation control of the stepper: each weakening of a copy of the ring must be noticed by it.
#
#   proof/mutants.sh [NAME…]      exit code 1 when one is not noticed, 2 when one no longer applies
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/mutants
mkdir -p "$work/src"

# name | file | what is there (exactly once) | what is put in its place
mutants=(
  'slot-not-pinned|writer.rs|if old.pinned() {|if false {'
  'commit-by-store|writer.rs|.compare_exchange(busy.0, done.0, SeqCst, Relaxed)|.compare_exchange({ slot[S_STAMP].store(busy.0, SeqCst); busy.0 }, done.0, SeqCst, Relaxed)'
  'no-acknowledgement|writer.rs|        acknowledge(slot, owner);|        let _ = acknowledge;'
  'cells-not-pinned|arena.rs|let busy = Stamp::new(lap, owner, State::Busy);|let busy = Stamp::new(lap, owner, State::Done);'
  'cells-not-unpinned|writer.rs|Ok(_) => arena::unpin(ring, owner, run, cells),|Ok(_) => {}'
  'never-dirty|writer.rs|me[WR_DIRTY].store(1, Relaxed);|me[WR_DIRTY].store(0, Relaxed);'
  'reaped-without-proof|reaper.rs|} else if lock::try_lock(&self.locks, number)? {|} else if true {'
  'poisoned-claim-is-free|tail.rs|Stamp::new(lap, seen.owner(), State::PinnedHole)|Stamp::new(lap, seen.owner(), State::Hole)'
)

weaken() { # file from to
  FROM=$2 TO=$3 perl -0pi -e '
    my ($from, $to) = ($ENV{FROM}, $ENV{TO});
    my $count = () = /\Q$from\E/g;
    die "found $count times: $from\n" unless $count == 1;
    s/\Q$from\E/$to/;' "$1"
}

missed=0
for mutant in "${mutants[@]}"; do
  IFS='|' read -r name file from to <<<"$mutant"
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  rm -rf "$work/src/shared" "$work/src/proof"
  mkdir -p "$work/src/shared"
  cp -r "$root/shared/src" "$root/shared/Cargo.toml" "$root/shared/benches" "$work/src/shared/"
  cp -r "$root/proof" "$work/src/proof"
  cp "$root/Cargo.lock" "$work/src/"
  sed 's/^members = .*/members = ["shared", "proof"]/' "$root/Cargo.toml" >"$work/src/Cargo.toml"
  weaken "$work/src/shared/src/$file" "$from" "$to" || exit 2
  (cd "$work/src" && CARGO_TARGET_DIR="$work/target" cargo build --quiet --offline --release -p askr-proof \
    --bin step --config profile.release.lto=false --config profile.release.codegen-units=16 2>"$work/log") ||
    { cat "$work/log"; echo "mutants: $name does not build"; exit 2; }
  code=0
  "$work/target/release/step" --every 7 --pairs 100 --fail-fast >"$work/log" 2>&1 || code=$?
  if [ $code -eq 1 ]; then
    echo "mutants: $name noticed: $(grep -m1 "^step: run" "$work/log" | cut -c1-150)"
  else
    echo "mutants: $name NOT noticed (exit code $code)"
    missed=1
  fi
done
exit $missed
