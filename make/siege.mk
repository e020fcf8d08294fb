# askrd's memory.

.PHONY: bench-memory

bench-memory: setup build ## What one connection, channel, member, position costs in askrd's memory (docs/MEMORY.md)
	@cd tests && $(NODE) bench/memory.mjs
