# The WebSocket layer before others' judgement.

.PHONY: autobahn

autobahn: ## The Autobahn cases against an echo server of askrd's WebSocket modules (python3-venv, PyPI)
	@CARGO="$(CARGO)" tests/autobahn/run.sh
