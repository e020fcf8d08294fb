# PHP-FPM with askr.so: docker build -f packaging/docker/php.Dockerfile --build-arg PHP=8.4 -t shop/php .
ARG PHP=8.4
FROM php:${PHP}-fpm-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends clang libclang-dev
COPY --from=rust:1.95-slim-bookworm /usr/local/cargo /usr/local/cargo
COPY --from=rust:1.95-slim-bookworm /usr/local/rustup /usr/local/rustup
ENV PATH=/usr/local/cargo/bin:$PATH CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
WORKDIR /src
COPY . .
RUN PHP=$(command -v php) PHP_CONFIG=$(command -v php-config) cargo build --release --locked -p askr-ext \
 && strip --strip-unneeded target/release/libaskr.so

FROM php:${PHP}-fpm-bookworm
# PHP-FPM gives its workers the groups that their user has here, whatever the container was started with. 990 is askrd's group.
RUN groupadd --gid 990 askr && usermod --append --groups askr www-data
COPY --from=build /src/target/release/libaskr.so /tmp/askr.so
COPY packaging/docker/askr.ini /usr/local/etc/php/conf.d/askr.ini
RUN mv /tmp/askr.so "$(php-config --extension-dir)/askr.so"
