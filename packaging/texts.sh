#!/usr/bin/env bash
# Writes what packages have beside the program into a folder: man pages, completions, copyright
# and changelogs. From one commit it is the same bytes every time.
#   packaging/texts.sh MASSPAY FOLDER VERSION EPOCH
set -euo pipefail
cd "$(dirname "$0")/.."
masspay=$1 to=$2 version=$3
export SOURCE_DATE_EPOCH=$4 LC_ALL=C TZ=UTC

rm -rf "$to"
mkdir -p "$to/man" "$to/completions"
"$masspay" man "$to/man"
gzip -9n "$to"/man/*
"$masspay" completion bash >"$to/completions/masspay.bash"
"$masspay" completion zsh >"$to/completions/_masspay"
"$masspay" completion fish >"$to/completions/masspay.fish"

gzip -9nc CHANGELOG.md >"$to/changelog.gz"
gzip -9n >"$to/changelog.Debian.gz" <<END
masspay ($version-1) unstable; urgency=medium

  * What has changed is in changelog.gz.

 -- masspay developers <developers@masspay.dev>  $(date -R -u -d "@$SOURCE_DATE_EPOCH" 2>/dev/null || date -R -u -r "$SOURCE_DATE_EPOCH")
END

# Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
{
	cat <<'END'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: masspay

Files: *
Copyright: masspay developers
License: Apache-2.0
 On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.
Comment:
 The program has software of others in it, under the licences below, as masspay licenses
 prints them.
END
	sed -e 's/\f//g' -e 's/^[[:space:]]*$/./' -e 's/^/ /' "cmd/masspay/third-party.txt"
} >"$to/copyright"
