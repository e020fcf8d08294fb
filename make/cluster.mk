# Several hosts. The long forms are for people and for releases, the -short ones for `make test`.

.PHONY: sim-cluster torture-cluster torture-cluster-short test-cluster-stores bench-cluster bench-redis-restart

# The short form is part of `make test-rust`.
sim-cluster: ## Nodes, logs and viewers in virtual time, under everything that can happen to them; SECONDS=3600, SEED=1000
	@SECONDS=$(or $(SECONDS),3600) SEED=$(or $(SEED),1000) $(CARGO) test --quiet --release $(CARGO_FLAGS) -p cluster \
	  --test sim -- --ignored --exact --nocapture long

torture-cluster: setup build ## Three nodes, Redis with a replica and Sentinel, hopping viewers, while everything dies in turns; SECONDS=600, FAULTS='Redis away,failover'
	@cd tests && SECONDS=$(or $(SECONDS),600) $(NODE) cluster/torture.mjs

torture-cluster-short: built
	@cd tests && SECONDS=$(or $(SECONDS),25) LONG=3 $(NODE) cluster/torture.mjs

bench-cluster: setup build ## Host to host beside a bare Redis stream: latency, CPU, a return to another host; ROUNDS=5
	$(BUILD) build --release $(CARGO_FLAGS) -p askrd --example log_floor
	@$(NODE) tests/bench/cluster.mjs

bench-redis-restart: setup build ## What a viewer of another host has in the end when Redis is restarted under load; beside nginx with nchan, and soketi
	@.ci/setup bench
	@[ -e tests/bench/soketi/node_modules ] || npm ci --prefix tests/bench/soketi --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(NODE) tests/bench/redis-restart.mjs

test-cluster-stores: setup build ## Several hosts over Redis 8 and Valkey 8.1 from a newer Debian (root, 3 minutes)
	@.ci/stores "$${ASKR_CHROOTS:-$${XDG_CACHE_HOME:-$$HOME/.cache}/askr/chroots}/stores" | while read -r server; do \
	  echo "$$server"; \
	  REDIS_SERVER="$$server" $(BUILD) test $(CARGO_FLAGS) --workspace --test daemon cluster </dev/null && \
	  (cd tests && REDIS_SERVER="$$server" SECONDS=45 LONG=5 $(NODE) cluster/torture.mjs </dev/null) || exit 1; \
	done
