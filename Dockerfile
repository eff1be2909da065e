# One image, non-root. Beyond loopback Keyward wants to know its public URL:
#   docker build -t keyward .
#   docker run -p 127.0.0.1:8080:8080 -v keyward-data:/data -v keyward-keys:/keys keyward serve --issuer http://localhost:8080
#   docker exec -it CONTAINER keyward user add alice

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin keyward

FROM debian:bookworm-slim
# Volumes take over the owner of these folders; the master key must not be readable by others.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin keyward \
    && install --directory --owner=keyward --group=keyward --mode=0700 /data /keys
COPY --from=build /build/target/release/keyward /usr/local/bin/keyward
# As environment, so that every command in the container finds the same place, not only `serve`.
ENV KEYWARD_DATA_DIR=/data \
    KEYWARD_KEYS_DIR=/keys \
    KEYWARD_LISTEN=0.0.0.0:8080 \
    KEYWARD_ADMIN_LISTEN=0.0.0.0:8081
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/keys"]
# 8080: public. 8081: admin, metrics without a token; publish it to nobody.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
ENTRYPOINT ["keyward"]
CMD ["serve"]
