#!/usr/bin/env python3
"""Shows that the loom models can fail: weakens the ring in one place at a time and expects it.

Each mutant is one replacement of text in a copy of the crate. A text that is not found exactly once is
an error, so the list keeps in step with the code. Usage: mutants.py [NAME…]; needs cargo.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

CRATE = pathlib.Path(__file__).resolve().parent.parent
ROOT = CRATE.parent
WORK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "loom-mutants"

# name, file, what stands there, what the mutant has instead
MUTANTS = [
    ("no fence before the stores", "writer.rs",
     "        fence(Release);\n        slot[S_LEN]", "        slot[S_LEN]"),
    ("no fence after the loads", "fetch.rs", "    fence(Acquire);\n    let now", "    let now"),
    ("commit by a plain store", "writer.rs",
     ".compare_exchange(busy.0, done.0, SeqCst, Relaxed)\n            .is_ok()",
     ".swap(done.0, SeqCst)\n            != busy.0 + done.0"),
    ("commit without release", "writer.rs",
     "compare_exchange(busy.0, done.0, SeqCst, Relaxed)",
     "compare_exchange(busy.0, done.0, Relaxed, Relaxed)"),
    ("pinned slots are taken", "writer.rs",
     "let (new, mine) = if old.pinned() {", "let (new, mine) = if false {"),
    ("poison unpins", "tail.rs",
     "Stamp::new(lap, seen.owner(), State::PinnedHole)", "Stamp::new(lap, seen.owner(), State::Hole)"),
    ("no acknowledgement", "writer.rs", "        acknowledge(slot, owner);\n", ""),
    ("the second look is left out", "fetch.rs",
     "    if now != seen {", "    if now.0 == u64::MAX {"),
    ("the first look without acquire", "fetch.rs",
     "    match look(ring, position, Acquire) {\n        Look::Done(seen) => read(",
     "    match look(ring, position, Relaxed) {\n        Look::Done(seen) => read("),
    ("an event is erased by a plain store", "fetch.rs",
     ".compare_exchange(seen.0, hole.0, AcqRel, Relaxed)\n        .is_ok()", ".swap(hole.0, AcqRel)\n        == seen.0"),
    ("the arena is not looked at again", "fetch.rs",
     "    if raw.run != 0 && !arena::holds", "    if raw.run == u64::MAX && !arena::holds"),
    ("no fence before the arena's stores", "arena.rs",
     "    fence(Release);\n    let (cells, at)", "    let (cells, at)"),
    ("pinned cells are taken", "arena.rs",
     "if old.lap() >= lap || old.pinned() {", "if old.lap() >= lap {"),
    ("cells of a later lap are taken", "arena.rs",
     "if old.lap() >= lap || old.pinned() {", "if old.pinned() {"),
    ("relaxed look at the sleepers", "wake.rs",
     "    seq_cst_model_fence();\n    if ring", "    if ring"),
    ("no look between bit and sleep", "wake.rs",
     "let sleeps = !ready();", "let sleeps = true; let _ = &mut ready;"),
    ("the wake does not move gen", "wake.rs",
     "    ring.word(W_GEN).fetch_add(1, AcqRel);\n", ""),
    ("the reaper frees nothing", "reaper.rs",
     "while seen.pinned() && seen.owner() == owner {", "while seen.pinned() && owner == u16::MAX {"),
    ("the reaper gives up when others move", "reaper.rs",
     "Err(now) => seen = Stamp(now),", "Err(_) => break,"),
]


def build_copy():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"members = \[[^\]]*\]", 'members = ["shared"]', manifest)
    (WORK / "Cargo.toml").write_text(manifest)
    shutil.copy(ROOT / "Cargo.lock", WORK)
    shutil.copytree(CRATE, WORK / "shared", ignore=shutil.ignore_patterns("fuzz", "target"))


def run():
    env = {**os.environ, "RUSTFLAGS": "--cfg loom", "RUST_BACKTRACE": "0",
           "CARGO_TARGET_DIR": str(WORK / "target")}
    command = ["cargo", "test", "--quiet", "--release", "-p", "shared", "--test", "loom"]
    try:
        done = subprocess.run(command, cwd=WORK, env=env, text=True, timeout=600,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        return True, ["(no end within 600 s)"]
    if "could not compile" in done.stdout:
        sys.exit(done.stdout)
    return done.returncode != 0, sorted(set(re.findall(r"^---- (\S+) stdout", done.stdout, re.M)))


def check_texts():
    for name, file, old, _ in MUTANTS:
        found = (CRATE / "src" / file).read_text().count(old)
        if found != 1:
            sys.exit(f"mutant '{name}': its text stands {found} times in {file}")


def main():
    check_texts()
    wanted = sys.argv[1:]
    build_copy()
    failed, _ = run()
    if failed:
        sys.exit("the models fail without a mutation")
    escaped = 0
    for name, file, old, new in MUTANTS:
        if wanted and name not in wanted:
            continue
        path = WORK / "shared" / "src" / file
        source = path.read_text()
        path.write_text(source.replace(old, new))
        caught, models = run()
        path.write_text(source)
        escaped += not caught
        print(f"{'caught ' if caught else 'ESCAPED'} {name}: {', '.join(models)}", flush=True)
    print(f"{len(wanted or MUTANTS) - escaped} passed, {escaped} failed")
    sys.exit(1 if escaped else 0)


if __name__ == "__main__":
    main()
