# askrd: docker build -f packaging/docker/askrd.Dockerfile -t askr/askrd .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p askrd && strip target/release/askrd

FROM debian:bookworm-slim
# Numbers that stay: whoever shares the volume is put into the group by its number (group_add).
RUN groupadd --gid 990 askr && useradd --uid 990 --gid 990 --no-create-home --home-dir /run/askr --shell /usr/sbin/nologin askr \
 && install -d -o askr -g askr -m 0750 /run/askr && install -d -o askr -g askr -m 0700 /var/lib/askr
COPY --from=build /src/target/release/askrd /usr/bin/askrd
USER askr
# One volume on tmpfs has the ring and the sockets.
ENV ASKR_RING_NAME=/run/askr/ring \
    ASKR_SERVER_LISTEN=unix:/run/askr/askrd.sock \
    ASKR_SERVER_CONTROL=/run/askr/control.sock \
    ASKR_SERVER_STATE_DIRECTORY=/var/lib/askr
VOLUME /var/lib/askr
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["askrd", "health"]
ENTRYPOINT ["askrd"]
CMD ["serve"]
