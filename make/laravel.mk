# The Composer packages: laravel/ and clients/php.

.PHONY: test-laravel bench-laravel

test-laravel: built ## The packages for Laravel and plain PHP: PHPUnit with the extension and without; PHP-FPM, queue, Chromium
	@PHP=$(PHP) ASKRD=$(ASKRD) ASKR_SO=$(ASKR_SO) laravel/tests/run
	@cd tests && $(NODE_TEST) e2e/laravel-package.test.mjs

bench-laravel: setup build ## broadcast() in an FPM request: drivers null, askr, pusher; ROUNDS=400, PUSHER_PHP=autoload.php
	@$(NODE) tests/bench/laravel.mjs
