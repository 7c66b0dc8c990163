#!/bin/sh
# Installs ycred for Linux or macOS, or removes it again.
#
#   sh install.sh [--prefix DIRECTORY] [--from DIRECTORY|URL] [--libc musl|gnu]
#   sh install.sh --remove [--prefix DIRECTORY]
#
# The prefix is /usr/local for root and ~/.local for anyone else. The archive comes from the directory of this script if
# its SHA256SUMS is there, else from the release's URL. Nothing is installed unless its digest is the one in SHA256SUMS.
set -eu

version=@VERSION@
url=@URL@
libc=musl
action=install
prefix=
from=

fail() { printf 'install.sh: error: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
        --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; prefix=$2; shift ;;
        --from) [ $# -gt 1 ] || fail "--from needs a directory or a URL"; from=$2; shift ;;
        --libc) [ $# -gt 1 ] || fail "--libc needs musl or gnu"; libc=$2; shift ;;
        --remove) action=remove ;;
        *) fail "unknown argument $1" ;;
    esac
    shift
done

if [ -z "$prefix" ]; then
    if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=${HOME:?}/.local; fi
fi
case $prefix in /*) ;; *) fail "--prefix must be absolute" ;; esac
# What was installed, one path a line, relative to the prefix.
list=$prefix/share/ycred/installed

remove() {
    [ -f "$list" ] || fail "$list does not exist: nothing was installed there"
    # What clients still have configured. A version without this command has nothing to undo.
    if [ -x "$prefix/bin/ycred" ]; then
        "$prefix/bin/ycred" unsetup --all --dry-run </dev/null 2>/dev/null || true
    fi
    while IFS= read -r path; do
        case $path in /* | *..*) fail "$list: unexpected path" ;; esac
        rm -f "$prefix/$path"
    done <"$list"
    # Directories that are empty now, from the innermost to the outermost. Others keep what is in them.
    sed 's|/[^/]*$||' "$list" | sort -ru >"$list.directories"
    rm -f "$list"
    directories=$(cat "$list.directories")
    rm -f "$list.directories"
    for directory in share/ycred $directories; do
        while [ "$directory" != . ]; do
            rmdir "$prefix/$directory" 2>/dev/null || break
            directory=$(dirname "$directory")
        done
    done
    rmdir "$prefix" 2>/dev/null || true
    printf 'removed ycred from %s\n' "$prefix"
}

if [ "$action" = remove ]; then
    remove
    exit 0
fi

case $(uname -s)-$(uname -m) in
    Linux-x86_64 | Linux-amd64) target=x86_64-unknown-linux-$libc ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-$libc ;;
    Darwin-x86_64) target=x86_64-apple-darwin ;;
    Darwin-arm64) target=aarch64-apple-darwin ;;
    *) fail "there is no package for $(uname -s) on $(uname -m)" ;;
esac
name=ycred-v$version-$target
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "$from" ]; then
    here=$(dirname "$0")
    if [ -f "$here/SHA256SUMS" ]; then from=$here; else from=$url; fi
fi
[ -n "$from" ] || fail "no release to download from; use --from DIRECTORY or --from URL"
get() {
    case $from in
        http://* | https://* | file://*)
            if command -v curl >/dev/null 2>&1; then
                curl --fail --silent --show-error --location --output "$scratch/$1" "$from/$1" || fail "cannot download $from/$1"
            else
                wget --quiet --output-document="$scratch/$1" "$from/$1" || fail "cannot download $from/$1"
            fi
            ;;
        *) cp "$from/$1" "$scratch/$1" || fail "cannot read $from/$1" ;;
    esac
}
get SHA256SUMS
grep -q "  $name.tar.gz\$" "$scratch/SHA256SUMS" || fail "$from has no $name.tar.gz"
get "$name.tar.gz"
if command -v sha256sum >/dev/null 2>&1; then check='sha256sum -c'; else check='shasum -a 256 -c'; fi
(cd "$scratch" && grep "  $name.tar.gz\$" SHA256SUMS | $check >/dev/null) || fail "$name.tar.gz does not have the digest in SHA256SUMS"
tar -xzf "$scratch/$name.tar.gz" -C "$scratch"
stage=$scratch/$name

: >"$scratch/installed"
# put SOURCE PATH MODE: copies a file beside its place, then renames it, so that a running ycred is not disturbed.
put() {
    mkdir -p "$prefix/$(dirname "$2")"
    cp "$1" "$prefix/$2.new"
    chmod "$3" "$prefix/$2.new"
    mv -f "$prefix/$2.new" "$prefix/$2"
    printf '%s\n' "$2" >>"$scratch/installed"
}
put "$stage/ycred" bin/ycred 755
while IFS= read -r link; do
    ln -sf ycred "$prefix/bin/$link"
    printf 'bin/%s\n' "$link" >>"$scratch/installed"
done <"$stage/links"
for page in "$stage"/man/*; do put "$page" "share/man/man1/${page##*/}" 644; done
put "$stage/completions/ycred.bash" share/bash-completion/completions/ycred 644
put "$stage/completions/_ycred" share/zsh/site-functions/_ycred 644
put "$stage/completions/ycred.fish" share/fish/vendor_completions.d/ycred.fish 644
for document in README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT; do put "$stage/$document" "share/doc/ycred/$document" 644; done
put "$scratch/installed" share/ycred/installed 644

printf 'installed %s in %s\n' "$("$prefix/bin/ycred" --version)" "$prefix/bin"
case :$PATH: in
    *:"$prefix/bin":*) ;;
    *) printf 'add %s to PATH, so that clients find it\n' "$prefix/bin" ;;
esac
