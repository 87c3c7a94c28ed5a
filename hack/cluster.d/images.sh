# Images from folders: sourced by hack/cluster and hack/images, which set `tools` and define `die`. Builds archives;
# touches the folder of the tools, and no daemon.
#
# An archive is named after what it was made of and made once. Nothing stays in a store of images.
# shellcheck shell=bash disable=SC2154
recipe=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-8)
minio_version=$("$here/tools" --version-of minio)

archive() { # name, folder, archive, options of `buildah config`…
  local name=$1 folder=$2 to=$3 store container
  shift 3
  store=$(mktemp -d "$(dirname "$to")/.store-XXXXXX")
  local run=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
  if container=$("${run[@]}" from scratch) &&
    "${run[@]}" copy -q "$container" "$folder" / >/dev/null &&
    "${run[@]}" config "$@" "$container" &&
    "${run[@]}" commit -q --timestamp 0 "$container" "$name" >/dev/null &&
    "${run[@]}" push -q "$name" "docker-archive:$store/archive:$name"; then
    mv "$store/archive" "$to"
    rm -rf "$store"
  else
    rm -rf "$store"
    die "the image $name could not be made"
  fi
}

# Sets `archive` to the archive of an image that is made once. A function puts its files into an empty folder.
cached() { # name of the image, what it is made of, function, options of `buildah config`…
  local name=$1 made_of=$2 files=$3
  shift 3
  archive=$(basename "${name%:*}")
  archive=$tools/images/$archive-$made_of-$recipe.tar
  [ ! -f "$archive" ] || return 0
  mkdir -p "$tools/images"
  (
    part=$(mktemp -d "$tools/images/.part-XXXXXX")
    trap 'rm -rf "$part"' EXIT
    mkdir "$part/files"
    cd "$part/files"
    "$files" >&2
    archive "$name" "$part/files" "$part/archive.tar" "$@"
    mv "$part/archive.tar" "$archive"
  )
}

pause_image() { cached localhost/pause:1 1 pause_files --entrypoint '["/pause"]'; }

kafka_image() { # kafka or kafka-oldest
  local kafka_version kafka_libs
  kafka_version=$("$here/tools" --version-of "$1")
  kafka_libs=$("$here/tools" --path "$1")
  cached "localhost/kafka:$kafka_version" "$kafka_version" kafka_files --user 1000:1000 --workingdir /opt/kafka \
    --env PATH=/opt/java/bin:/bin --env JAVA_HOME=/opt/java --label "org.opencontainers.image.version=$kafka_version"
}

minio_image() {
  cached localhost/minio:dev "$minio_version" minio_files --user 1000:1000 --entrypoint '["/bin/minio"]'
}

# What holds a pod's namespaces: it waits, and takes away dead children.
pause_files() {
  gcc -static -Os -s -x c -o pause - <<'C'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
static void reap(int signal) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
C
}

# The official image's layout, as far as anyone may count on it: /opt/kafka/libs, java on the path, a shell, uid 1000.
kafka_files() {
  mkdir -p bin tmp etc opt/kafka var/lib/kafka/data
  cp -a "$kafka_libs" opt/kafka/libs
  chmod -R a+rX opt/kafka/libs
  # log4j wants java.desktop.
  jlink --add-modules java.se,jdk.crypto.ec,jdk.jcmd,jdk.management,jdk.net,jdk.security.auth,jdk.unsupported,jdk.zipfs \
    --strip-debug --no-man-pages --no-header-files --output opt/java
  find opt/java -type f \( -name '*.so' -o -path '*/bin/*' \) -print0 | xargs -0 "$here/cluster.d/libraries" .
  shell_files sh cat chmod cp df env grep head hostname id kill ls mkdir mv nc nslookup rm sed sleep stat tail test
  chmod 1777 tmp
  chown 1000:1000 var/lib/kafka/data
}

minio_files() {
  mkdir -p bin tmp etc data
  cp "$tools/minio" bin/
  chmod 755 bin/minio
  shell_files sh mkdir
  chmod 1777 tmp
  chown 1000:1000 data
}

shell_files() { # commands…
  local command busybox
  busybox=$(command -v busybox)
  if ldd "$busybox" >/dev/null 2>&1; then die "$busybox is not static: install Debian's busybox-static"; fi
  cp "$busybox" bin/busybox
  for command in "$@"; do ln -s busybox "bin/$command"; done
  printf '%s\n' 'root:x:0:0:root:/:/bin/sh' 'user:x:1000:1000::/:/bin/sh' >etc/passwd
  printf '%s\n' 'root:x:0:' 'user:x:1000:' >etc/group
  echo 'hosts: files dns' >etc/nsswitch.conf
}
