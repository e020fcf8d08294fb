PHP_ARG_ENABLE([empty], [whether to build the empty extension], [--enable-empty], [yes])
PHP_NEW_EXTENSION([empty], [empty.c], [$ext_shared])
