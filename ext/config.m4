dnl For phpize, and so for PIE: the extension is built by cargo (Makefile.frag), none of it is C.
PHP_ARG_ENABLE([askr],
  [whether to enable askr],
  [AS_HELP_STRING([--enable-askr], [Enable askr])],
  [yes])

if test "$PHP_ASKR" != "no"; then
  AC_PATH_PROG([CARGO], [cargo])
  if test -z "$CARGO"; then
    AC_MSG_ERROR([cargo is needed: Debian has it as cargo-web and rustc-web, everywhere else rustup installs it])
  fi
  AC_PATH_PROG([CLANG], [clang])
  if test -z "$CLANG"; then
    AC_MSG_ERROR([clang and libclang are needed, to read PHP's headers: clang and libclang-dev in Debian])
  fi
  AC_CHECK_TOOL([STRIP], [strip], [:])
  PHP_SUBST([STRIP])
  dnl Of the PHP that is built for, as whole paths.
  ASKR_PHP_CONFIG=`command -v $PHP_CONFIG`
  ASKR_PHP=`$PHP_CONFIG --php-binary`
  PHP_SUBST([CARGO])
  PHP_SUBST([ASKR_PHP_CONFIG])
  PHP_SUBST([ASKR_PHP])
  PHP_MODULES="\$(phplibdir)/askr.so"
  PHP_ADD_MAKEFILE_FRAGMENT([$abs_srcdir/Makefile.frag], [$abs_srcdir], [$abs_builddir])
fi
