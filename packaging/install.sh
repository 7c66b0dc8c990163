#!/bin/sh
# Installs ycred for Linux or macOS, or removes it again.
#
#   sh install.sh [--prefix DIRECTORY] [--from DIRECTORY|URL] [--libc musl|gnu] [--force]
#   sh install.sh --remove [--prefix DIRECTORY]
#
# The prefix is /usr/local for root and ~/.local for anyone else. The archive comes from the directory of this script if
# its SHA256SUMS is there, else from the release's URL. Nothing is installed unless its digest is the one in SHA256SUMS, and no
# file that this script has not installed is replaced, except with --force.
set -eu

version='@VERSION@'
url='@URL@'
libc=musl
action=install
prefix=
from=
force=

# Removes what only this run needs.
clean_up() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$new" ] || rm -f "$new"
    [ -z "$is_locked" ] || rm -f "$lock"
}

fail() { printf 'install.sh: error: %s\n' "$*" >&2; exit 1; }

# Deletes what the list names, and the directories that the installation had created. Adds to $left what it cannot delete.
delete() {
    left=
    while IFS= read -r path; do
        case $path in
            */) continue ;;
            /* | *..*) fail "$list: unexpected path" ;;
        esac
        # This script creates no directory in the place of a file, so it is somebody else's.
        if [ -d "$prefix/$path" ] && [ ! -L "$prefix/$path" ]; then
            printf 'left %s: it is a directory, which this script has not created\n' "$prefix/$path"
            continue
        fi
        # A copy beside the file is what an installation that was killed has left.
        rm -f "$prefix/$path" "$prefix/$path.new" 2>/dev/null || left="$left $prefix/$path"
    done <"$list"
    # From the innermost to the outermost. What has other files in it stays.
    directories=$(sed -n 's|/$||p' "$list" | LC_ALL=C sort -r)
    rm -f "$lock" 2>/dev/null || true
    # The list of what is left is needed for another attempt.
    [ -z "$left" ] || return 0
    rm -f "$list" || return 0
    printf '%s\n' "$directories" | while IFS= read -r directory; do
        case $directory in
            '' | *..*) continue ;;
            /*) case $prefix/ in "$directory"/*) ;; *) continue ;; esac ;;
            *) directory=$prefix/$directory ;;
        esac
        rmdir "$directory" 2>/dev/null || true
    done
}

# Runs a command as the user whose clients are configured: the one who called sudo, not root.
as_user() {
    if [ -n "$caller" ]; then sudo -n -H -u "$caller" -- "$@"; else "$@"; fi
}

# Prints what `ycred unsetup --all` would undo, and sets $advice if there is something.
show_clients() {
    caller='' advice=''
    if [ "$(id -u)" -eq 0 ] && [ "${SUDO_USER:-root}" != root ]; then caller=$SUDO_USER; fi
    [ -x "$prefix/bin/ycred" ] || return 0
    if shown=$(as_user "$prefix/bin/ycred" unsetup --all --dry-run </dev/null 2>&1); then
        case $shown in '' | 'nothing to undo') return 0 ;; esac
        printf 'clients%s are still set up; `ycred unsetup --all` would do this:\n' "${caller:+ of $caller}"
        advice='clients that still run ycred fail now'
    else
        printf 'clients%s may still be set up; `ycred unsetup --all --dry-run` failed:\n' "${caller:+ of $caller}"
        advice='clients that still run ycred, if any, fail now'
    fi
    printf '%s\n' "$shown" | sed '/^dry run: nothing was written$/d; s/^/    /'
    advice="$advice; to undo their setup, install ycred again, then run${caller:+ as $caller, without sudo}: ycred unsetup --all"
}

remove() {
    [ -f "$list" ] || fail "$list does not exist: nothing was installed there"
    take_lock
    show_clients
    delete
    [ -z "$left" ] || fail "cannot delete$left"
    printf 'removed ycred from %s\n' "$prefix"
    [ -z "$advice" ] || printf '%s\n' "$advice"
}

# Waits until no other run of this script changes the same installation. The lock is a link to the number of the process, which
# the end of the script removes.
take_lock() {
    waited=0
    until ln -s "$$" "$lock" 2>/dev/null; do
        [ -w "$prefix/share/ycred" ] || fail "cannot write to $prefix/share/ycred"
        holder=$(readlink "$lock" || true)
        [ "$waited" -lt 60 ] || fail "cannot create $lock${holder:+: process $holder has held it for a minute}"
        waited=$((waited + 1))
        # One that was killed has left it.
        if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then rm -f "$lock"; else sleep 1; fi
    done
    is_locked=yes
}

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

# Gets the archive and unpacks it, if it has the digest in SHA256SUMS.
fetch() {
    if command -v sha256sum >/dev/null 2>&1; then
        check='sha256sum -c'
    elif command -v shasum >/dev/null 2>&1; then
        check='shasum -a 256 -c'
    else
        fail "cannot check the digest: neither sha256sum nor shasum is installed"
    fi
    if [ -z "$from" ]; then
        # Only a file of this name has a directory of its own. `curl … | sh` has none: the current one may be anybody's.
        from=$url
        case ${0##*/} in install.sh) if [ -f "$0" ] && [ -f "$(dirname "$0")/SHA256SUMS" ]; then from=$(dirname "$0"); fi ;; esac
    fi
    [ -n "$from" ] || fail "no release to download from; use --from DIRECTORY or --from URL"
    get SHA256SUMS
    grep -q "  $name.tar.gz\$" "$scratch/SHA256SUMS" || fail "$from has no $name.tar.gz"
    get "$name.tar.gz"
    (cd "$scratch" && grep "  $name.tar.gz\$" SHA256SUMS | $check >/dev/null) ||
        fail "$name.tar.gz does not have the digest in SHA256SUMS"
    tar -xzf "$scratch/$name.tar.gz" -C "$scratch"
}

# Prints what is installed: the file in the archive, its place, and its mode. Links are from `ycred`.
contents() {
    printf '%s %s %s\n' ycred bin/ycred 755
    while IFS= read -r link; do printf 'link bin/%s 777\n' "$link"; done <"$stage/links"
    for page in "$stage"/man/*; do printf 'man/%s share/man/man1/%s 644\n' "${page##*/}" "${page##*/}"; done
    printf '%s %s 644\n' completions/ycred.bash share/bash-completion/completions/ycred \
        completions/_ycred share/zsh/site-functions/_ycred \
        completions/ycred.fish share/fish/vendor_completions.d/ycred.fish
    for document in README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT THIRD-PARTY-LICENSES; do
        printf '%s share/doc/ycred/%s 644\n' "$document" "$document"
    done
}

# Fails if a file is in the way that this script has not installed. A link to a ycred is one that `ycred setup` has made.
look_for_other_files() {
    while read -r _ place _; do
        # Not even with --force: a link or a file would get into it.
        [ ! -d "$prefix/$place" ] || fail "$prefix/$place is a directory; move it away, then run the installer again"
        [ -z "$force" ] || continue
        [ -e "$prefix/$place" ] || [ -L "$prefix/$place" ] || continue
        if [ -f "$list" ] && grep -qxFe "$place" "$list"; then continue; fi
        if [ -L "$prefix/$place" ]; then
            case $(readlink "$prefix/$place") in ycred | */ycred) continue ;; esac
        fi
        fail "$prefix/$place exists, and this script has not installed it; use --force to replace it"
    done <"$scratch/contents"
}

# make DIRECTORY: creates it and those above it. Adds each that did not exist to $made.
make() {
    [ ! -d "${1:-/}" ] || return 0
    make "${1%/*}"
    # Another program may create it at the same time.
    reason=$(mkdir "$1" 2>&1) || { [ -d "$1" ] && return 0; fail "$reason"; }
    made="$made${1#"$prefix"/}/
"
}

# record PATH: adds it to the list before it is created, so that an installation that was interrupted can be removed.
record() { grep -qxFe "$1" "$list" || printf '%s\n' "$1" >>"$list"; }

# put SOURCE PLACE MODE: copies a file beside its place, then renames it, so that a running ycred is not disturbed.
put() {
    make "$prefix/$(dirname "$2")"
    printf '%s' "$made" >>"$list"
    made=
    record "$2"
    if [ "$1" = link ]; then
        ln -sf ycred "$prefix/$2"
        return 0
    fi
    new=$prefix/$2.new
    cp "$stage/$1" "$new"
    chmod "$3" "$new"
    if [ "$1" = ycred ]; then
        # Before it replaces a program that runs.
        code=0
        shown=$("$new" --version </dev/null 2>"$scratch/reason") || code=$?
        if [ "$code" -ne 0 ]; then
            rm -f "$new"
            [ -n "$is_update" ] || delete
            reason=$(tail -n 1 "$scratch/reason")
            # The shell could not start it.
            case $code-$reason in
                126-*[Pp]ermission*)
                    fail "no program may be run in $prefix/bin, which may be mounted with noexec; use --prefix for another directory" ;;
            esac
            fail "the program in $name.tar.gz does not run on this machine${reason:+: $reason}"
        fi
    fi
    mv -f "$new" "$prefix/$2"
    new=
}

install() {
    case $(uname -s)-$(uname -m) in
        Linux-x86_64 | Linux-amd64) target=x86_64-unknown-linux-$libc ;;
        Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-$libc ;;
        Darwin-x86_64) target=x86_64-apple-darwin ;;
        Darwin-arm64) target=aarch64-apple-darwin ;;
        *) fail "there is no package for $(uname -s) on $(uname -m)" ;;
    esac
    name=ycred-v$version-$target
    scratch=$(mktemp -d)
    fetch
    stage=$scratch/$name
    contents >"$scratch/contents"
    look_for_other_files
    make "$prefix/share/ycred"
    take_lock
    if [ -f "$list" ]; then is_update=yes; fi
    touch "$list"
    while read -r source place mode; do put "$source" "$place" "$mode"; done <"$scratch/contents"
    # What an earlier version has installed and this one has not.
    cut -d' ' -f2 "$scratch/contents" >"$scratch/installed"
    while IFS= read -r path; do
        case $path in */ | /* | *..*) continue ;; esac
        grep -qxFe "$path" "$scratch/installed" || rm -f "$prefix/$path"
    done <"$list"
    grep '/$' "$list" >>"$scratch/installed" || true
    new=$list.new
    cp "$scratch/installed" "$new"
    mv -f "$new" "$list"
    new=
    printf 'installed %s in %s\n' "$shown" "$prefix/bin"
    case :$PATH: in
        *:"$prefix/bin":*) ;;
        *) printf 'add %s to PATH, so that clients find it\n' "$prefix/bin" ;;
    esac
}

main() {
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; prefix=$2; shift ;;
            --from) [ $# -gt 1 ] || fail "--from needs a directory or a URL"; from=$2; shift ;;
            --libc) [ $# -gt 1 ] || fail "--libc needs musl or gnu"; libc=$2; shift ;;
            --remove) action=remove ;;
            --force) force=yes ;;
            *) fail "unknown argument $1" ;;
        esac
        shift
    done
    if [ -z "$prefix" ]; then
        if [ "$(id -u)" -eq 0 ]; then
            prefix=/usr/local
        else
            [ -n "${HOME-}" ] || fail "HOME is not set; use --prefix DIRECTORY"
            prefix=$HOME/.local
        fi
    fi
    case $prefix in /*) ;; *) fail "--prefix must be absolute" ;; esac
    while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
    # What was installed, one path a line: each file relative to the prefix, and with a slash at the end each directory that
    # did not exist before. The prefix and the directories above it are absolute.
    list=$prefix/share/ycred/installed
    lock=$prefix/share/ycred/lock
    made='' new='' shown='' is_update='' is_locked='' scratch=''
    # dash runs the trap for EXIT after a signal only if the signal has a trap too.
    trap 'clean_up' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    umask 022
    "$action"
}

# The last line: of a download that was cut off, nothing runs.
main "$@"
