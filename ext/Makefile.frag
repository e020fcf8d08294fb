ASKR_CARGO = PHP=$(ASKR_PHP) PHP_CONFIG=$(ASKR_PHP_CONFIG) $(CARGO)
ASKR_SOURCE = $(top_srcdir)
ASKR_TARGET = $(top_builddir)/target
# Cargo itself knows what has changed.
.PHONY: $(phplibdir)/askr.so askr-tests

$(phplibdir)/askr.so:
	$(ASKR_CARGO) build --release --locked --manifest-path $(ASKR_SOURCE)/Cargo.toml --target-dir $(ASKR_TARGET)
	mkdir -p $(phplibdir)
	cp $(ASKR_TARGET)/release/libaskr.so $(phplibdir)/askr.so

# The tests want an askrd, which keeps their rings.
TESTS = $(ASKR_SOURCE)/../php-tests
test: askr-tests
askr-tests:
	$(ASKR_CARGO) build --release --locked --manifest-path $(ASKR_SOURCE)/../daemon/Cargo.toml --target-dir $(ASKR_TARGET)
export ASKRD = $(ASKR_TARGET)/release/askrd
# phpize's own would read the name of the module out of libtool's file, of which there is none.
PHP_TEST_SHARED_EXTENSIONS = -d extension=askr.so
