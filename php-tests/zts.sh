#!/bin/bash
# Shows that askr.so builds for a thread-safe PHP and works in it: the tests of this directory, and a
# program with many threads that publish at the same time (zts-threads.c).
#
#   php-tests/zts.sh            everything; a PHP is built first if there is none (10 minutes)
#
# Debian ships no thread-safe PHP, so it is built from Debian's source package of the PHP series
# installed here, into .build/zts (ZTS_DIR), and kept there. The system's apt settings are not changed.
set -euo pipefail
cd "$(dirname "$0")/.."

PHP=${PHP:-php}
ASKRD=${ASKRD:-$PWD/target/release/askrd}
DIR=${ZTS_DIR:-$PWD/.build/zts}
JOBS=${JOBS:-$(nproc)}
[ -x "$ASKRD" ] || { echo "$ASKRD is missing: run 'make build' first" >&2; exit 1; }

minor=$("$PHP" -n -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;')
prefix=$DIR/php-$minor
mkdir -p "$DIR"

# Runs a long command quietly; its output only matters when it fails.
quietly() {
  local log=$DIR/$1.log
  shift
  "$@" > "$log" 2>&1 || { tail -40 "$log" >&2; echo "failed: $* (all of it in $log)" >&2; exit 1; }
}

# Fetches Debian's source package with apt's own settings, deb-src in the place of deb.
fetch_source() {
  local apt=$DIR/apt file
  rm -rf "$apt" && mkdir -p "$apt/sources" "$apt/lists/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    sed -e 's/^Types:.*/Types: deb-src/' -e 's/^deb /deb-src /' "$file" > "$apt/sources/$(basename "$file")"
  done
  # A .list file must not be a .sources file; sources.list itself needs an ending of its own.
  [ ! -e "$apt/sources/sources.list" ] || mv "$apt/sources/sources.list" "$apt/sources/main.list"
  local options=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$apt/sources"
    -o "Dir::State::Lists=$apt/lists" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  # The newest one whose files are there: a mirror may list a security update that it does not hold.
  local version
  for version in $(apt-cache "${options[@]}" showsrc "php$minor" | sed -n 's/^Version: //p' | sort -ruV); do
    rm -f "$DIR"/php"$minor"_*
    (cd "$DIR" && apt-get "${options[@]}" --download-only source "php$minor=$version") && return
  done
  echo "no source package of php$minor could be fetched" >&2
  return 1
}

if [ ! -x "$prefix/bin/php" ]; then
  echo "building a thread-safe PHP $minor in $DIR"
  quietly fetch fetch_source
  source=$DIR/source
  rm -rf "$source"
  # As PHP released it: Debian's patches name directories that only its own build fills in.
  quietly unpack dpkg-source --no-check --skip-patches -x "$DIR"/php"$minor"_*.dsc "$source"
  cd "$source"
  # Enough optimisation to be quick, little enough to be built soon: nothing is measured with it.
  CFLAGS='-O1 -g0' quietly configure ./configure --prefix="$prefix" --disable-all --disable-cgi --disable-phpdbg \
    --enable-cli --enable-embed=shared --enable-pcntl --enable-zts
  quietly make nice make -j"$JOBS"
  quietly install make install
  # Debian keeps PHP's test runner beside the extensions, where tests/phpt looks for it.
  install -D "$prefix/lib/php/build/run-tests.php" "$("$prefix/bin/php-config" --extension-dir)/build/run-tests.php"
  cd - > /dev/null
  rm -rf "$source"
fi
"$prefix/bin/php" -n -r 'exit(ZEND_THREAD_SAFE ? 0 : 1);' || { echo "$prefix is not thread-safe" >&2; exit 1; }

echo "building askr.so for it"
# Both: where PHP names another one, that would be asked what the headers of this one are for.
export PHP=$prefix/bin/php PHP_CONFIG=$prefix/bin/php-config
PATH=$prefix/bin:$PATH CARGO_TARGET_DIR=$DIR/target cargo build --release --locked -p askr-ext
so=$DIR/target/release/libaskr.so

echo "running php-tests with it"
PHP=$prefix/bin/php ASKR_SO=$so ASKRD=$ASKRD tests/phpt

echo "running threads"
modules=$(mktemp -d)
ring=/askr-zts-$$
trap 'rm -rf "$modules" "/dev/shm$ring" "/dev/shm$ring".*' EXIT
cp "$so" "$modules/askr.so"
cat > "$modules/php.ini" <<INI
extension_dir = "$modules"
extension = askr.so
askr.ring = "$ring"
display_errors = 1
INI
# shellcheck disable=SC2046
cc -O1 -g -o "$modules/threads" php-tests/zts-threads.c $("$PHP_CONFIG" --includes) \
  -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lphp -lpthread
ASKRD=$ASKRD "$modules/threads" "$modules/php.ini"
