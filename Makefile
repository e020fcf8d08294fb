# One verb per job. `make` alone lists them.

PHP        ?= php
CARGO      ?= cargo
NODE       ?= node
# The PHP that is built for is asked where its things are; PHP=php8.3 chooses another one.
PHP_CONFIG ?= $(subst php,php-config,$(notdir $(PHP)))
PHP_DIR     = $(shell $(PHP_CONFIG) --extension-dir)
PHP_MINOR   = $(shell $(PHP) -n -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;')

DESTDIR    ?=
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR      = $(PREFIX)/bin
UNITDIR     = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
MANDIR      = $(PREFIX)/share/man
COMPLETIONS = bash-completion/completions zsh/vendor-completions fish/vendor_completions.d
# Empty: symbols are left in what is installed.
STRIP       = -s
# The daemon's group (packaging/askr.sysusers), which reads its settings.
GROUP       = askr
PHPINIDIR   = $(SYSCONFDIR)/php/$(PHP_MINOR)/mods-available

TARGET      = $(CURDIR)/target
RELEASE     = $(TARGET)/release
ASKRD       = $(RELEASE)/askrd
ASKR_SO     = $(RELEASE)/libaskr.so
CARGO_FLAGS = --locked
# ext-php-rs wants to be told whole paths. Looked up when needed: before `setup` there may be none.
# What askrd calls its build in the first line of its log.
ASKR_BUILD ?= $(shell git rev-parse --short HEAD 2>/dev/null)
BUILD       = ASKR_BUILD="$(ASKR_BUILD)" PHP="$$(command -v $(PHP))" PHP_CONFIG="$$(command -v $(PHP_CONFIG))" $(CARGO)
# Tools from crates.io that setup installs.
TOOLS       = $(CURDIR)/.build/cargo
CARGO_DENY  = $(TOOLS)/bin/cargo-deny
# Their fuzz targets are workspaces of their own, whose lock files must be kept current.
FUZZED      = shared cluster daemon
# One target directory for all crates that are fuzzed: most of what they depend on is the same.
FUZZER      = PATH="$(TOOLS)/bin:$$PATH" $(CARGO) +nightly fuzz
FUZZ_FLAGS  = --target-dir $(TARGET)/fuzz -s none
# Short forms compile longer than they run.
FUZZ_SHORT  = CARGO_PROFILE_RELEASE_OPT_LEVEL=1
# They wait more than they work: more at a time than there are cores.
CRATES_TEST = RUST_TEST_THREADS=6 $(BUILD) test --workspace $(CARGO_FLAGS)
NODE_TEST   = $(NODE) --test --test-reporter=spec

export PHP PHP_CONFIG

.DEFAULT_GOAL := help
# The verbs below depend on one another in the order in which they are named.
.NOTPARALLEL:
.PHONY: help setup setup-build setup-demo build demo demo-cluster test check lint house docs deny ahead fuzz-build test-protocols test-rust test-php test-clients test-e2e test-doctor \
        test-zts loom loom-short bench-ring bench-publish bench-history bench-latency bench-syscalls install uninstall clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install everything that building, the demo and the tests need (Debian 12 or 13, root or sudo)
	@.ci/setup build demo test

setup-build:
	@.ci/setup build

setup-demo:
	@.ci/setup build demo

build: ## Build askrd and askr.so (target/release)
	$(BUILD) build --release $(CARGO_FLAGS) -p askrd -p askr-ext

demo: setup-demo build ## Show events arriving live in a page; DEMO_SECONDS=10 ends by itself
	@demo/run

demo-cluster: setup-demo build ## The same with two hosts on this machine and a Redis between them
	@.ci/setup cluster
	@demo/run 2

# Cheap checks first, so that a plain mistake is told within a minute. What measures itself, or is full of processes, comes
# last and has the machine for itself: nothing is built by then (`ahead` again waits for what is).
TEST_VERBS = lint house docs deny test-rust loom-short build test-php test-clients test-laravel test-e2e test-protocols ahead \
             churn-short siege-short torture-cluster-short proof-short

test: setup ## Prove everything that is promised
	@mkdir -p $(TARGET)
	@.ci/beside --self-test
	@.ci/beside $(TARGET)/ahead.log $(MAKE) --no-print-directory ahead -- $(MAKE) --no-print-directory $(TEST_VERBS)

# Built while others wait: cargo's lock makes who needs one of them wait for it.
ahead: build fuzz-build proof-build

fuzz-build: fuzz-daemon-build fuzz-ring-build

check: lint house docs ## What to run before each commit: lints, layout, docs, unit tests (3 minutes, no root)
	$(BUILD) test --workspace --lib --bins $(CARGO_FLAGS)

lint: ## Check formatting, lints, and the lock files of the fuzz targets
	$(CARGO) fmt --all --check
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	  $(BUILD) clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings; \
	else \
	  echo "clippy is not installed, lints are NOT checked (rustup component add clippy)"; \
	fi
	@for crate in $(FUZZED); do $(CARGO) update --quiet --workspace --locked --manifest-path $$crate/fuzz/Cargo.toml || exit 1; done

house: ## No circle between modules, each folder uses only those below it; read from the code
	@.ci/house --self-test
	@.ci/house

docs: ## The crates' own documentation, without a warning
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(BUILD) doc --workspace --no-deps --document-private-items --quiet $(CARGO_FLAGS)

# Licences, sources and versions need no network. Advisories are a repository of their own that has to be reached.
deny: ## Licences, sources and duplicate versions of all dependencies (cargo-deny); ADVISORIES=1 asks for advisories too
	@if $(CARGO_DENY) --version >/dev/null 2>&1; then \
	  $(CARGO_DENY) --log-level error check --hide-inclusion-graph bans licenses sources $(if $(ADVISORIES),advisories); \
	else \
	  echo "cargo-deny is not installed, licences and sources are NOT checked (make setup)"; \
	fi
	$(if $(ADVISORIES),,@echo "deny: advisories are NOT checked (make deny ADVISORIES=1, where their repository can be reached)")

# Beside one another: the one waits for a client of Python's, the other works.
test-protocols:
	@mkdir -p $(TARGET); $(MAKE) --no-print-directory fuzz-daemon-short >$(TARGET)/fuzz.log 2>&1 & fuzz=$$!; \
	$(MAKE) --no-print-directory autobahn; tests=$$?; \
	wait $$fuzz || { cat $(TARGET)/fuzz.log; exit 1; }; \
	grep -e '^fuzz: ' -e 'NOT fuzzed' $(TARGET)/fuzz.log; exit $$tests

test-rust: ## Unit and property tests of the crates
	$(CRATES_TEST)
	ASKR_TEST_IO=write ASKR_TEST_WORKERS=1 $(CRATES_TEST) --test daemon -- streams:: last_words:: reload:: drain:: --skip every_setting

test-php: ## The PHP surface (php-tests/*.phpt) with the built askr.so
	@test -e $(ASKR_SO) || { echo "$(ASKR_SO) is missing: run 'make build' first"; exit 1; }
	@PHP=$(PHP) PHP_CONFIG=$(PHP_CONFIG) ASKR_SO=$(ASKR_SO) ASKRD=$(ASKRD) tests/phpt

test-clients: ## What runs in pages: state machines by schedules of chance, types, sizes, packages (no server); SCHEDULES=1500
	cd tests && $(NODE_TEST) --test-concurrency=2 clients/*.test.mjs

test-e2e: ## End to end: PHP-FPM, nginx, askrd, Chromium, Firefox (needs 'make build'); test-laravel and test-doctor have their own
	@test -x $(ASKRD) -a -e $(ASKR_SO) || { echo "askrd or askr.so is missing: run 'make build' first"; exit 1; }
	@# Two files at a time: they wait more than they work.
	cd tests && $(NODE_TEST) --test-concurrency=2 $$(ls e2e/*.test.mjs | grep -v -e /laravel-package -e /doctor)

test-doctor: ## askrd doctor with the real nginx and PHP-FPM: each fault made on purpose (1 min; 'make test' has stand-ins for them)
	cd tests && $(NODE_TEST) e2e/doctor.test.mjs

test-zts: build ## The PHP surface with a thread-safe PHP, built from Debian's source (10 min)
	@ASKRD=$(ASKRD) php-tests/zts.sh

loom: loom-short ## Models of the ring, and proof that they can fail (20 min)
	CARGO_TARGET_DIR=$(TARGET) shared/loom/mutants.py

loom-short: ## The models alone (part of 'make test')
	RUSTFLAGS="--cfg loom" $(CARGO) test --release $(CARGO_FLAGS) --target-dir $(TARGET)/loom -p shared --test loom

include make/ring.mk
include make/laravel.mk
include make/versions.mk
include make/ws.mk
include make/siege.mk
include make/cluster.mk
include make/bench.mk
include make/dashboard.mk
include make/packages.mk
include make/symfony.mk

bench-ring: ## Publish, replay and wake-up beside the physical floor, crossbeam and iceoryx2
	@$(CARGO) bench $(CARGO_FLAGS) -p shared --bench ring
	@$(CARGO) run --quiet --release $(CARGO_FLAGS) --manifest-path shared/rivals/Cargo.toml --target-dir $(TARGET)/rivals

bench-publish: setup build ## askr_broadcast() beside phpredis publish() and an empty extension function
	@$(NODE) tests/bench/publish.mjs

bench-history: setup build ## askr_history() beside phpredis XREVRANGE
	@$(NODE) tests/bench/history.mjs

bench-latency: setup build ## Publish to received, one subscriber, beside the floor
	@$(NODE) tests/bench/latency.mjs

bench-syscalls: setup build ## System calls per publish, daemon busy and asleep (strace)
	@$(NODE) tests/bench/syscalls.mjs

install: ## Install what 'make build' made (PREFIX, DESTDIR and SYSCONFDIR are respected)
	@test -x $(ASKRD) -a -e $(ASKR_SO) || { echo "nothing to install: run 'make build' first"; exit 1; }
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(PHP_DIR) $(DESTDIR)$(PHPINIDIR) $(DESTDIR)$(UNITDIR) \
	  $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(SYSCONFDIR)/askr $(DESTDIR)$(SYSCONFDIR)/nginx/snippets \
	  $(DESTDIR)$(SYSCONFDIR)/nginx/conf.d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 \
	  $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	install -m 0755 $(STRIP) $(ASKRD) $(DESTDIR)$(BINDIR)/askrd
	install -m 0644 $(STRIP) $(ASKR_SO) $(DESTDIR)$(PHP_DIR)/askr.so
	for unit in askrd.service askrd@.service; do \
	  sed 's|/usr/bin/askrd|$(BINDIR)/askrd|g; s|/etc/askr|$(SYSCONFDIR)/askr|g' packaging/$$unit \
	    > $(DESTDIR)$(UNITDIR)/$$unit && chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	install -m 0644 packaging/man/*.1 $(DESTDIR)$(MANDIR)/man1
	install -m 0644 packaging/man/*.5 $(DESTDIR)$(MANDIR)/man5
	install -m 0644 packaging/completions/askrd.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/askrd
	install -m 0644 packaging/completions/_askrd $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_askrd
	install -m 0644 packaging/completions/askrd.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/askrd.fish
	install -m 0644 packaging/askrd.socket $(DESTDIR)$(UNITDIR)/askrd.socket
	install -m 0644 packaging/askr.sysusers $(DESTDIR)$(SYSUSERSDIR)/askr.conf
	# An operator's settings are never overwritten. askr.toml may come to have a secret in it; on the machine that is
	# installed for, its group is the daemon's, if systemd-sysusers has made that already.
	to=$(DESTDIR)$(SYSCONFDIR)/askr/askr.toml; \
	if [ -e $$to ]; then echo "kept $$to"; else \
	  install -m 0640 packaging/askr.toml $$to || exit 1; \
	  if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && getent group $(GROUP) >/dev/null; then chgrp $(GROUP) $$to; fi; \
	fi
	for pair in nginx.conf:nginx/snippets/askr.conf \
	    nginx-pusher.conf:nginx/snippets/askr-pusher.conf nginx-mercure.conf:nginx/snippets/askr-mercure.conf \
	    nginx-http.conf:nginx/conf.d/askr.conf; do \
	  to=$(DESTDIR)$(SYSCONFDIR)/$${pair#*:}; \
	  if [ -e $$to ]; then echo "kept $$to"; else install -m 0644 packaging/$${pair%%:*} $$to; fi || exit 1; \
	done
	if [ -e $(DESTDIR)$(PHPINIDIR)/askr.ini ]; then echo "kept $(DESTDIR)$(PHPINIDIR)/askr.ini"; \
	  else install -m 0644 packaging/askr.ini $(DESTDIR)$(PHPINIDIR)/askr.ini; fi
	@echo
	@echo "Installed. Next, as root:"
	@echo "  systemd-sysusers && chgrp $(GROUP) $(SYSCONFDIR)/askr/askr.toml"
	@echo "  systemctl daemon-reload && systemctl enable --now askrd.socket askrd"
	@echo "  phpenmod -v $(PHP_MINOR) askr && systemctl restart php$(PHP_MINOR)-fpm"
	@echo "  add 'include snippets/askr.conf;' to the server block of your site, then: nginx -t && nginx -s reload"

uninstall: ## Stop askrd, remove what install put there, rings and user; settings (askr.toml, askr.ini, nginx) are kept
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && [ -e $(UNITDIR)/askrd.service ]; then \
	  packaging/leave $(PHP_MINOR) $(GROUP); fi
	rm -f $(DESTDIR)$(BINDIR)/askrd $(DESTDIR)$(PHP_DIR)/askr.so $(DESTDIR)$(UNITDIR)/askrd.service \
	  $(DESTDIR)$(UNITDIR)/askrd@.service $(DESTDIR)$(UNITDIR)/askrd.socket $(DESTDIR)$(SYSUSERSDIR)/askr.conf \
	  $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(wildcard packaging/man/*.1))) $(DESTDIR)$(MANDIR)/man5/askr.toml.5 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/askrd $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_askrd \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/askrd.fish
	# Directories that install may have made, if nothing else is in them.
	@for directory in $(UNITDIR) $(PREFIX)/lib/systemd $(SYSUSERSDIR) $(MANDIR)/man1 $(MANDIR)/man5 \
	    $(foreach one,$(COMPLETIONS),$(PREFIX)/share/$(one) $(PREFIX)/share/$(firstword $(subst /, ,$(one)))); do \
	  if [ -d $(DESTDIR)$$directory ]; then rmdir --ignore-fail-on-non-empty $(DESTDIR)$$directory; fi; \
	done
	@echo "Kept: $(SYSCONFDIR)/askr, /var/lib/askr, $(PHPINIDIR)/askr.ini, $(SYSCONFDIR)/nginx/snippets/askr*.conf, $(SYSCONFDIR)/nginx/conf.d/askr.conf"
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ] && [ "$$(id -u)" = 0 ]; then systemctl daemon-reload; fi

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf tests/node_modules .build
