# This version beside an older one. The format's own rules are tested by shared/tests/format.rs, part of `make test`.

# The last commit of the first event format, or any other.
OLD     ?= 992ea00
OLD_DIR  = $(TARGET)/old/$(OLD)

.PHONY: test-versions

test-versions: build $(OLD_DIR)/release/askrd ## Every mix of this askrd and askr.so with older ones; OLD=commit (5 min)
	cd tests && OLD_ASKRD=$(OLD_DIR)/release/askrd OLD_ASKR_SO=$(OLD_DIR)/release/libaskr.so $(NODE_TEST) versions/*.test.mjs

$(OLD_DIR)/release/askrd:
	@mkdir -p $(OLD_DIR)/source
	git archive $(OLD) | tar -x -C $(OLD_DIR)/source
	cd $(OLD_DIR)/source && $(BUILD) build --release $(CARGO_FLAGS) --target-dir $(OLD_DIR) -p askrd -p askr-ext
