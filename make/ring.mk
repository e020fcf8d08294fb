# The proof of the ring. The long forms are for people and for releases, the -short ones for `make test`.

PROOF      = $(or $(CARGO_TARGET_DIR),$(TARGET))/release
PROOF_ASKRD = --askrd $(ASKRD)
TORTURE     = PHP_FPM=/usr/sbin/php-fpm$(PHP_MINOR) $(PROOF)/torture
FUZZ       = event header writer reader update

.PHONY: shuttle proof-build proof-short step step-short step-mutants torture torture-short hostile \
        hostile-short life life-short fuzz fuzz-ring-build fuzz-short

shuttle: ## The ring under random schedules, for what is too large for loom; SCHEDULES=100000
	cd shared/shuttle && RUSTFLAGS="--cfg loom" SHUTTLE_SILENCE_WARNINGS=1 SCHEDULES=$(or $(SCHEDULES),100000) \
	  CARGO_TARGET_DIR=$(or $(CARGO_TARGET_DIR),$(TARGET))/shuttle $(CARGO) test --release $(CARGO_FLAGS)

proof-build:
	@$(CARGO) build --quiet --release $(CARGO_FLAGS) -p askr-proof

# Three minutes, of which the fuzzer's build takes most.
proof-short: step-short torture-short hostile-short life-short fuzz-short ## The short forms of the proof (part of 'make test')

step: proof-build ## Kill and stop a publish at every instruction (half an hour)
	@$(PROOF)/step

step-short: proof-build
	@$(PROOF)/step --every 97 --pairs 40

step-mutants: ## Show that the stepper notices a weakened ring (each of eight)
	@proof/mutants.sh

# Each with a reader that notes everything, and with the real askrd and a subscriber.
torture: build proof-build ## Kill, stop, restart and rotate under load; SECONDS=600 each
	@$(TORTURE) --seconds $(or $(SECONDS),600) --askr-so $(ASKR_SO)
	@$(TORTURE) --seconds $(or $(SECONDS),600) --askr-so $(ASKR_SO) $(PROOF_ASKRD)

torture-short: built proof-build
	@$(TORTURE) --seconds $(or $(SECONDS),7) --askr-so $(ASKR_SO)
	@$(TORTURE) --seconds $(or $(SECONDS),7) --askr-so $(ASKR_SO) $(PROOF_ASKRD)

hostile: build proof-build ## Scribble over the ring while it is served; SECONDS=60 each
	@$(PROOF)/hostile --seconds $(or $(SECONDS),60)
	@$(PROOF)/hostile --seconds $(or $(SECONDS),60) --askr-so $(ASKR_SO) $(PROOF_ASKRD)

hostile-short: built proof-build
	@$(PROOF)/hostile --seconds $(or $(SECONDS),5)
	@$(PROOF)/hostile --seconds $(or $(SECONDS),5) --askr-so $(ASKR_SO) $(PROOF_ASKRD)

life: build proof-build ## Creation races, rotations cut short, full tmpfs, namespaces, other users (root)
	@$(PROOF)/life

life-short: built proof-build
	@if [ "$$(id -u)" = 0 ]; then $(PROOF)/life; \
	else echo "not root: the life of a segment in namespaces and among users is NOT tried (sudo make life)"; fi

.PHONY: built
built:
	@test -x $(ASKRD) -a -e $(ASKR_SO) || { echo "askrd or askr.so is missing: run 'make build' first"; exit 1; }

# Nothing here is unsafe but the copies, which are assembly that no sanitizer sees: none is used, and the
# targets run ten times as often.
# The fuzzer's own report is shown only when it found something.
define run-fuzz
	@for target in $(FUZZ); do \
	  log=$$(mktemp); \
	  $(2) $(FUZZER) run --fuzz-dir shared/fuzz $(FUZZ_FLAGS) $$target -- -runs=$(1) -max_len=1536 \
	    -len_control=0 -timeout=60 -print_final_stats=1 -verbosity=0 >$$log 2>&1 || \
	    { cat $$log; rm -f $$log; exit 1; }; \
	  echo "fuzz: $$target: $$(sed -n 's/^stat::number_of_executed_units: //p' $$log) inputs, nothing found"; \
	  rm -f $$log; \
	done
endef

fuzz: ## Fuzz what reads and writes the segment (nightly Rust, cargo-fuzz); RUNS=10000000
	$(call run-fuzz,$(or $(RUNS),10000000))

# The build with coverage takes a minute, so nothing is built where the tools are not.
fuzz-ring-build:
	$(if $(shell $(FUZZER) --version 2>/dev/null),@$(FUZZ_SHORT) $(FUZZER) build --fuzz-dir shared/fuzz $(FUZZ_FLAGS))

fuzz-short: fuzz-ring-build
	@if ! $(FUZZER) --version >/dev/null 2>&1; then \
	  echo "nightly Rust or cargo-fuzz is not installed, the segment is NOT fuzzed (a nightly toolchain, then make setup)"; fi
	$(if $(shell $(FUZZER) --version 2>/dev/null),$(call run-fuzz,$(or $(RUNS),50000),$(FUZZ_SHORT)))
