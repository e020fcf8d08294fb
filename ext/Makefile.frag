ASKR_CARGO = PHP=$(ASKR_PHP) PHP_CONFIG=$(ASKR_PHP_CONFIG) $(CARGO)
ASKR_SOURCE = $(top_srcdir)
ASKR_TARGET = $(top_builddir)/target
.PHONY: askr-tests

# What is made already, `sudo make install` only copies: root may have another Rust, or none. Without symbols, as the
# packages have it; `make STRIP=:` leaves them in.
ASKR_FROM := $(wildcard $(addprefix $(ASKR_SOURCE)/,src Cargo.toml ../shared/src ../shared/Cargo.toml ../Cargo.toml ../Cargo.lock))
$(phplibdir)/askr.so: $(shell find $(ASKR_FROM) -type f)
	$(ASKR_CARGO) build --release --locked --manifest-path $(ASKR_SOURCE)/Cargo.toml --target-dir $(ASKR_TARGET)
	mkdir -p $(phplibdir)
	cp $(ASKR_TARGET)/release/libaskr.so $(phplibdir)/askr.so
	$(STRIP) --strip-unneeded $(phplibdir)/askr.so

# The tests want an askrd, which keeps their rings.
TESTS = $(ASKR_SOURCE)/../php-tests
test: askr-tests
askr-tests:
	$(ASKR_CARGO) build --release --locked --manifest-path $(ASKR_SOURCE)/../daemon/Cargo.toml --target-dir $(ASKR_TARGET)
export ASKRD = $(ASKR_TARGET)/release/askrd
# phpize's own would read the name of the module out of libtool's file, of which there is none.
PHP_TEST_SHARED_EXTENSIONS = -d extension=askr.so
