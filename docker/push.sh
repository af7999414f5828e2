#!/usr/bin/env bash
# Pushes the image that `make image` built, as VERSION and as latest.
#   docker/push.sh IMAGE VERSION
# Writes the pushed digest and the path of the image's list of contents to $GITHUB_OUTPUT.
set -euo pipefail
image=$1 version=$2

for tag in "$version" latest; do
  docker tag "$image" "$image:$tag"
  docker push "$image:$tag"
done
digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image:$version" |
  sed -n "s|^$image@||p" | head -n 1)
[ -n "$digest" ] || { echo "error: $image:$version has no digest after the push" >&2; exit 1; }

mkdir -p build
docker run --rm --network none --entrypoint cat "$image" /opt/sbom.cdx.json >build/sbom.cdx.json
printf 'digest=%s\nsbom=build/sbom.cdx.json\n' "$digest" >>"$GITHUB_OUTPUT"
