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
while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
# What was installed, one path a line: each file relative to the prefix, and with a slash at the end each directory that did
# not exist before. The prefix and the directories above it are absolute.
list=$prefix/share/ycred/installed
umask 022

remove() {
    [ -f "$list" ] || fail "$list does not exist: nothing was installed there"
    # What clients still have configured. A version without this command has nothing to undo.
    if [ -x "$prefix/bin/ycred" ]; then
        "$prefix/bin/ycred" unsetup --all --dry-run </dev/null 2>/dev/null || true
    fi
    while IFS= read -r path; do
        case $path in
            */) ;;
            /* | *..*) fail "$list: unexpected path" ;;
            *) rm -f "$prefix/$path" ;;
        esac
    done <"$list"
    # From the innermost to the outermost. What has other files in it stays.
    directories=$(sed -n 's|/$||p' "$list" | LC_ALL=C sort -r)
    rm -f "$list"
    printf '%s\n' "$directories" | while IFS= read -r directory; do
        case $directory in
            '' | *..*) continue ;;
            /*) case $prefix/ in "$directory"/*) ;; *) continue ;; esac ;;
            *) directory=$prefix/$directory ;;
        esac
        rmdir "$directory" 2>/dev/null || true
    done
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

# make DIRECTORY: creates it and those above it. Adds each that did not exist to $made.
made=
make() {
    [ ! -d "${1:-/}" ] || return 0
    make "${1%/*}"
    mkdir "$1"
    made="$made${1#"$prefix"/}/
"
}
# record PATH: adds it to the list before it is created, so that an installation that was interrupted can be removed.
record() { grep -qxFe "$1" "$list" || printf '%s\n' "$1" >>"$list"; }
make "$prefix/share/ycred"
touch "$list"
# put SOURCE PATH MODE: copies a file beside its place, then renames it, so that a running ycred is not disturbed.
put() {
    make "$prefix/$(dirname "$2")"
    printf '%s' "$made" >>"$list"
    made=
    record "$2"
    cp "$1" "$prefix/$2.new"
    chmod "$3" "$prefix/$2.new"
    mv -f "$prefix/$2.new" "$prefix/$2"
    printf '%s\n' "$2" >>"$scratch/installed"
}
put "$stage/ycred" bin/ycred 755
while IFS= read -r link; do
    record "bin/$link"
    ln -sf ycred "$prefix/bin/$link"
    printf 'bin/%s\n' "$link" >>"$scratch/installed"
done <"$stage/links"
for page in "$stage"/man/*; do put "$page" "share/man/man1/${page##*/}" 644; done
put "$stage/completions/ycred.bash" share/bash-completion/completions/ycred 644
put "$stage/completions/_ycred" share/zsh/site-functions/_ycred 644
put "$stage/completions/ycred.fish" share/fish/vendor_completions.d/ycred.fish 644
for document in README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT THIRD-PARTY-LICENSES; do put "$stage/$document" "share/doc/ycred/$document" 644; done
# What an earlier version has installed and this one has not.
while IFS= read -r path; do
    case $path in */ | /* | *..*) continue ;; esac
    grep -qxFe "$path" "$scratch/installed" || rm -f "$prefix/$path"
done <"$list"
grep '/$' "$list" >>"$scratch/installed" || true
cp "$scratch/installed" "$list.new"
mv -f "$list.new" "$list"

printf 'installed %s in %s\n' "$("$prefix/bin/ycred" --version)" "$prefix/bin"
case :$PATH: in
    *:"$prefix/bin":*) ;;
    *) printf 'add %s to PATH, so that clients find it\n' "$prefix/bin" ;;
esac
