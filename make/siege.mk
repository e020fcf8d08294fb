# askrd under attack. The long forms are for people and for releases, the -short ones for `make test`.

.PHONY: siege siege-short churn churn-short bench-memory

siege: build ## Every known attack at once, with healthy readers beside them; SECONDS=120
	@cd tests && SECONDS=$(or $(SECONDS),120) $(NODE) siege/siege.mjs

siege-short: built
	@cd tests && SECONDS=$(or $(SECONDS),25) $(NODE) siege/siege.mjs

churn: build ## Connections of every kind, ended in every way: nothing is left; CONNECTIONS=60000
	@cd tests && CONNECTIONS=$(or $(CONNECTIONS),60000) $(NODE) siege/churn.mjs

churn-short: built
	@cd tests && CONNECTIONS=$(or $(CONNECTIONS),6000) $(NODE) siege/churn.mjs

bench-memory: setup build ## What one connection, channel, member, position costs in askrd's memory (docs/MEMORY.md)
	@cd tests && $(NODE) bench/memory.mjs
