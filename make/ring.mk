# The proof of the ring. The long forms are for people and for releases, the -short ones for `make test`.

PROOF      = $(or $(CARGO_TARGET_DIR),$(TARGET))/release
FUZZ       = event header writer reader

.PHONY: proof-build step step-short step-mutants torture torture-short hostile hostile-short \
        life fuzz fuzz-short

proof-build:
	@$(CARGO) build --quiet --release $(CARGO_FLAGS) -p askr-proof

step: proof-build ## Kill and stop a publish at every instruction (half an hour)
	@$(PROOF)/step

step-short: proof-build
	@$(PROOF)/step --every 97 --pairs 40

step-mutants: ## Show that the stepper notices a weakened ring (each of eight)
	@proof/mutants.sh

torture: proof-build ## Kill, stop, restart and rotate under load; SECONDS=600
	@$(PROOF)/torture --seconds $(or $(SECONDS),600) --askr-so $(ASKR_SO)

torture-short: proof-build
	@$(PROOF)/torture --seconds $(or $(SECONDS),12) --askr-so $(ASKR_SO)

life: proof-build ## Creation races, rotations cut short, full tmpfs, namespaces, other users (root)
	@$(PROOF)/life

hostile: proof-build ## Scribble over the ring while a reader serves it; SECONDS=60
	@$(PROOF)/hostile --seconds $(or $(SECONDS),60)

hostile-short: proof-build
	@$(PROOF)/hostile --seconds $(or $(SECONDS),10)

# Nothing here is unsafe but the copies, which are assembly that no sanitizer sees: none is used, and the
# targets run ten times as often.
define run-fuzz
	@for target in $(FUZZ); do \
	  (cd shared && $(CARGO) +nightly fuzz run -s none $$target -- -runs=$(1) -max_len=1536 \
	    -len_control=0 -timeout=60 -print_final_stats=1 -verbosity=0) || exit 1; \
	done
endef

fuzz: ## Fuzz what reads and writes the segment (nightly Rust, cargo-fuzz); RUNS=10000000
	$(call run-fuzz,$(or $(RUNS),10000000))

fuzz-short:
	@if ! $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then \
	  echo "nightly Rust or cargo-fuzz is not installed, the segment is NOT fuzzed (cargo install cargo-fuzz)"; fi
	$(if $(shell $(CARGO) +nightly fuzz --version 2>/dev/null),$(call run-fuzz,$(or $(RUNS),50000)))
