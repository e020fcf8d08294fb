# WebSockets before others' judgement, and the daemon before noise.

.PHONY: autobahn

autobahn: ## The Autobahn cases against an echo server of askrd's WebSocket modules (python3-venv, PyPI)
	@CARGO="$(CARGO)" tests/autobahn/run.sh

# What askrd is sent: tokens, answers of the application, queries and bodies, origins, frames, messages, requests to the
# HTTP API; the notes that it leaves to its next start; and what other hosts write. No
# unsafe code here, so no sanitizer. The fuzzer's own report is shown only when it found something.
FUZZ_DAEMON = token answer first request origin ws pusher plain api present forgotten imports peer_message topics hub_claims publish subscribe subscribers \
              failures dashboard control
FUZZ_CLUSTER = entry node_state import facts

.PHONY: fuzz-daemon fuzz-daemon-build fuzz-daemon-short

# A crate, its targets, how many inputs, how it is built.
define run-fuzz-of
	@for target in $(2); do \
	  log=$$(mktemp); mkdir -p $(1)/fuzz/corpus/$$target; \
	  $(4) $(FUZZER) run --fuzz-dir $(1)/fuzz $(FUZZ_FLAGS) $$target \
	    $(1)/fuzz/corpus/$$target $(1)/fuzz/seeds/$$target -- -runs=$(3) -max_len=1536 \
	    -len_control=0 -timeout=60 -print_final_stats=1 -verbosity=0 >$$log 2>&1 || \
	    { cat $$log; rm -f $$log; exit 1; }; \
	  echo "fuzz: $$target: $$(sed -n 's/^stat::number_of_executed_units: //p' $$log) inputs, nothing found"; \
	  rm -f $$log; \
	done
endef

define run-fuzz-daemon
	$(call run-fuzz-of,daemon,$(FUZZ_DAEMON),$(1),$(2))
	$(call run-fuzz-of,cluster,$(FUZZ_CLUSTER),$(1),$(2))
endef

fuzz-daemon: ## Fuzz what askrd is sent (nightly Rust, cargo-fuzz); RUNS=10000000
	$(call run-fuzz-daemon,$(or $(RUNS),10000000))

# All at once, of which each core has its share; one after the other, one core would wait for the other's linker.
fuzz-daemon-build:
	$(if $(shell $(FUZZER) --version 2>/dev/null),@for crate in daemon cluster; do \
	  $(FUZZ_SHORT) $(FUZZER) build --fuzz-dir $$crate/fuzz $(FUZZ_FLAGS) || exit 1; done)

fuzz-daemon-short: fuzz-daemon-build
	@if ! $(FUZZER) --version >/dev/null 2>&1; then \
	  echo "nightly Rust or cargo-fuzz is not installed, what askrd is sent is NOT fuzzed (a nightly toolchain, then make setup)"; fi
	$(if $(shell $(FUZZER) --version 2>/dev/null),$(call run-fuzz-daemon,$(or $(RUNS),5000),$(FUZZ_SHORT)))
