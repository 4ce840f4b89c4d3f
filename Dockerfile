# The app `greetings`: one static program, the certificates that it trusts, and nothing else.
#
#   docker build -t greetings .
#   docker run --rm -p 127.0.0.1:8080:8080 -e INGLE_STORE=memory: greetings --insecure-http
#
# Behind a proxy that speaks HTTPS leave out `--insecure-http`.
#
# It needs nothing of BuildKit, since Google's builds run without it.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
# Which stores it has, beside SQLite and memory.
ARG FEATURES=firestore,memcached,postgres,redis
COPY . .
# With a target named, the flags are for the program alone, not for the build scripts of its
# dependencies.
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release \
      --target "$(rustc --print host-tuple)" --package greetings --features "$FEATURES" \
 && mv "target/$(rustc --print host-tuple)/release/greetings" /greetings

FROM scratch
# Stores that speak TLS trust these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /greetings /greetings
# No name, for there is no file of users. Any other number will do as well.
USER 65532:65532
ENV PORT=8080
EXPOSE 8080
ENTRYPOINT ["/greetings"]
