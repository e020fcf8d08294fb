# The proof of the ring. The long forms are for people and for releases, the -short ones for `make test`.

SECONDS_   = $(if $(SECONDS),$(SECONDS),$(1))
PROOF      = $(or $(CARGO_TARGET_DIR),$(TARGET))/release
FUZZ       = event header writer reader
FUZZ_RUNS  = $(or $(RUNS),10000000)

.PHONY: proof-build step step-short step-mutants torture torture-short hostile hostile-short \
        fuzz fuzz-short

proof-build:
	@$(CARGO) build --quiet --release $(CARGO_FLAGS) -p askr-proof

step: proof-build ## Kill and stop a publish at every instruction (half an hour)
	@$(PROOF)/step

step-short: proof-build
	@$(PROOF)/step --every 97 --pairs 40

step-mutants: ## Show that the stepper notices a weakened ring (each of eight)
	@proof/mutants.sh

torture: proof-build ## Kill, stop, restart and rotate under load; SECONDS=600
	@$(PROOF)/torture --seconds $(call SECONDS_,600) --askr-so $(ASKR_SO)

torture-short: proof-build
	@$(PROOF)/torture --seconds $(call SECONDS_,12) --askr-so $(ASKR_SO)

hostile: proof-build ## Scribble over the ring while a reader serves it; SECONDS=60
	@$(PROOF)/hostile --seconds $(call SECONDS_,60)

hostile-short: proof-build
	@$(PROOF)/hostile --seconds $(call SECONDS_,10)

# Nothing here is unsafe but the copies, which are assembly that no sanitizer sees: none is used, and the
# targets run ten times as often.
fuzz: ## Fuzz what reads and writes the segment (nightly Rust, cargo-fuzz); RUNS=10000000
	@for target in $(FUZZ); do \
	  (cd shared && $(CARGO) +nightly fuzz run -s none $$target -- -runs=$(FUZZ_RUNS) -max_len=1536 \
	    -len_control=0 -timeout=60 -print_final_stats=1 -verbosity=0 2>&1 \
	    | sed "s/^/fuzz: $$target: /" | tail -n 8; exit $${PIPESTATUS[0]}) || exit 1; \
	done

fuzz-short: export RUNS := 100000
fuzz-short:
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then $(MAKE) --no-print-directory fuzz; \
	else echo "cargo-fuzz or nightly Rust is not installed, the segment is NOT fuzzed (cargo install cargo-fuzz)"; fi
