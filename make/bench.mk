# The fan-out engine's benchmark. The other benchmarks are in the Makefile itself.

# Where servers of others are installed that no Debian package has: bin/sockudo.
RIVALS ?= $(TARGET)/bench-rivals
SOCKUDO = 5.2.0

.PHONY: bench-fanout bench-before bench-rivals bench-counters bench-restart

bench-fanout: setup build ## askrd beside the least a server can do, nchan, sockudo; SHORT=1, ONLY=kinds, WRITE=1
	@.ci/setup bench
	@ASKR_RIVALS=$(RIVALS) $(NODE) tests/bench/fanout.mjs

bench-before: setup build ## This askrd beside another build's, in one run; BEFORE=its askrd, SHORT=1, ROUNDS=5
	@$(NODE) tests/bench/before.mjs

bench-rivals: ## Build sockudo, which bench-fanout then runs too (20 min of CPU); RIVALS=directory
	@.ci/setup build rivals
	$(CARGO) install --locked --root $(RIVALS) --version $(SOCKUDO) --no-default-features --features local sockudo

bench-counters: ## What counting an event costs two workers, with counters of their own and shared
	@$(CARGO) bench $(CARGO_FLAGS) -p askrd --bench counters

bench-restart: setup build ## How long 50, 300 and 5000 viewers are away at a planned restart; BEFORE=another askrd
	@$(NODE) tests/bench/restart.mjs
