# What operators install: Debian packages, and where they are tried.

DEB_OUT ?= $(TARGET)/deb
# A network, processes and mounts of their own: they go when the command ends, whatever becomes of it.
APART = unshare --mount --net --pid --fork --kill-child --mount-proc sh -c 'ip link set lo up && exec "$$@"' --

.PHONY: pages deb release-assets test-deb test-install test-containers test-systemd test-php-matrix

pages: ## Write packaging/man and packaging/completions anew, after a change of the command line or of askr.toml
	ASKR_WRITE_PAGES=1 $(BUILD) test --quiet $(CARGO_FLAGS) --workspace --test daemon pages::

deb: ## Debian packages of askrd and of askr.so, for this Debian and its PHP (target/deb); DEB_OUT=directory
	@.ci/setup build deb
	@$(MAKE) --no-print-directory build
	@CARGO="$(CARGO)" packaging/debian/pack $(DEB_OUT)

release-assets: deb ## What a release has, under the names by which PIE and people find it (target/assets)
	@ASKR_SO=$(ASKR_SO) packaging/assets $(TARGET)/assets $(DEB_OUT)

# $(call tried-on,RELEASE,TEST): the packages, built for it, on a Debian that boots in systemd-nspawn.
define tried-on
	tests/packages/build $(1) $(DEB_OUT)/$(1) current 0.2.0
	@.ci/chroot bookworm nspawn >/dev/null
	cd tests && RELEASE=$(1) DEBS=$(DEB_OUT)/$(1) $(APART) $(NODE_TEST) packages/$(2).test.mjs
endef

test-deb: setup build ## The packages built, installed, upgraded under load, removed, purged, with Apache, too: Debian 12, 13 (root, 30 min at first)
	$(call tried-on,bookworm,deb)
	$(call tried-on,bookworm,apache)
	$(call tried-on,trixie,deb)
	$(call tried-on,trixie,apache)

test-install: setup build ## README's Install without packages, by the letter, make uninstall, and PIE's way: Debian 12, 13 (root)
	$(call tried-on,bookworm,install)
	$(call tried-on,bookworm,pie)
	$(call tried-on,trixie,install)
	$(call tried-on,trixie,pie)

test-containers: setup build ## The layout of packaging/docker in roots that share a tmpfs (root)
	$(call tried-on,bookworm,containers)

test-systemd: setup build ## The shipped units under a real systemd: confinement, sockets, reload, watchdog, restarts (root)
	$(call tried-on,bookworm,units)

test-php-matrix: setup build ## php-tests with each PHP that Debian's suites have, 8.2 to 8.6 (root, 20 min); ZTS=1: thread-safe ones, too
	@ASKRD=$(ASKRD) ZTS=$(ZTS) tests/packages/php-matrix
