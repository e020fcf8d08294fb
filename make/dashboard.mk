# The dashboard: its pictures, and what it costs.

.PHONY: screenshots bench-dashboard

screenshots: setup build ## Take the pictures of docs/images: dashboard in light, dark and on a phone, demo (2 min)
	@.ci/setup screenshots
	@$(NODE) tests/screenshots/take.mjs

bench-dashboard: setup build ## The dashboard's cost under 10,000 viewers and 1,000 events/s; /metrics with 100,000 channels; SHORT=1, ROUNDS=9
	@$(NODE) tests/bench/dashboard.mjs
