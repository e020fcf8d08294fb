# The fan-out engine's benchmark. The other benchmarks are in the Makefile itself.

# Where servers of others are installed that no Debian package has: bin/sockudo.
RIVALS ?= $(TARGET)/bench-rivals
SOCKUDO = 5.2.0

.PHONY: bench-mercure bench-fanout bench-before bench-rivals bench-client bench-counters bench-restart bench-reload

bench-fanout: setup build ## askrd beside the least a server can do, nchan, sockudo; SHORT=1, ONLY=kinds or connect, WRITE=1
	@.ci/setup bench
	@ASKR_RIVALS=$(RIVALS) $(NODE) tests/bench/fanout.mjs

bench-mercure: setup build ## A Mercure hub beside own SSE, patterns beside one topic, mercure_publish() beside a POST; SHORT=1, TURNS=5, ONLY=publish
	@$(NODE) tests/bench/mercure.mjs

bench-before: setup build ## This askrd beside another build's, in one run; BEFORE=its askrd, SHORT=1, ROUNDS=5
	@$(NODE) tests/bench/before.mjs

bench-rivals: ## Build sockudo, which bench-fanout then runs too (20 min of CPU); RIVALS=directory
	@.ci/setup build rivals
	$(CARGO) install --locked --root $(RIVALS) --version $(SOCKUDO) --no-default-features --features local sockudo

bench-client: setup build ## A page with @askr/client beside one with EventSource: events a second, sizes; ROUNDS=11
	@$(NODE) tests/bench/client.mjs

bench-counters: ## What counting an event costs two workers, with counters of their own and shared
	@$(CARGO) bench $(CARGO_FLAGS) -p askrd --bench counters

bench-restart: setup build ## How long 50, 300 and 5000 viewers are away at a planned restart; BEFORE=another askrd
	@$(NODE) tests/bench/restart.mjs

bench-reload: ## Reloads under events, 40 with another secret each, of files that cannot be used, of rotated secrets: nobody notices; VIEWERS=10000
	@ASKR_TEST_VIEWERS=$(or $(VIEWERS),10000) $(CARGO) test $(CARGO_FLAGS) --release -p askrd --test daemon \
		reload::nobody_notices -- --nocapture --test-threads=1
