# Symfony's Mercure component, as Debian has it.

.PHONY: test-symfony

# $(call symfony-of,RELEASE): askr.so built for its PHP, and the component beside it.
define symfony-of
	tests/symfony/build $(1) $(TARGET)/symfony/$(1)
	@.ci/chroot $(1) symfony >/dev/null
	cd tests && RELEASE=$(1) SO=$(TARGET)/symfony/$(1)/askr.so $(APART) $(NODE_TEST) symfony/symfony.test.mjs
endef

test-symfony: build ## Symfony's Mercure component of Debian 13 and sid, with askr.so for their PHP (root, 20 min at first)
	$(call symfony-of,trixie)
	$(call symfony-of,sid)
