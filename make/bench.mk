# The fan-out engine's benchmark. The other benchmarks are in the Makefile itself.

.PHONY: bench-fanout

bench-fanout: setup build ## askrd beside the least a server can do and nginx with nchan; SHORT=1, WRITE=1
	@.ci/setup bench
	@$(NODE) tests/bench/fanout.mjs
