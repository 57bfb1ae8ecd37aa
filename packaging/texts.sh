#!/usr/bin/env bash
# Writes what packages have beside the program into a folder: man pages, completions, copyright
# and changelogs. From one commit it is the same bytes every time.
#   packaging/texts.sh MASSPAY FOLDER VERSION EPOCH
set -euo pipefail
cd "$(dirname "$0")/.."
masspay=$1 to=$2 version=$3
export SOURCE_DATE_EPOCH=$4 LC_ALL=C TZ=UTC

rm -rf "$to/man" "$to/completions"
mkdir -p "$to/man" "$to/completions"
"$masspay" man "$to/man"
gzip -9n "$to"/man/*
"$masspay" completion bash >"$to/completions/masspay.bash"
"$masspay" completion zsh >"$to/completions/_masspay"
"$masspay" completion fish >"$to/completions/masspay.fish"

# apk has the times of its scripts in it.
rm -rf "$to/apk"
mkdir -p "$to/apk"
install -m 755 packaging/apk/* "$to/apk"
touch -d "@$SOURCE_DATE_EPOCH" "$to"/apk/* 2>/dev/null || touch -t "$(date -u -r "$SOURCE_DATE_EPOCH" +%Y%m%d%H%M.%S)" "$to"/apk/*

gzip -9nc CHANGELOG.md >"$to/changelog.gz"
gzip -9n >"$to/changelog.Debian.gz" <<END
masspay ($version-1) unstable; urgency=medium

  * What has changed is in changelog.gz.

 -- masspay developers <developers@masspay.dev>  $(date -R -u -d "@$SOURCE_DATE_EPOCH" 2>/dev/null || date -R -u -r "$SOURCE_DATE_EPOCH")
END

cat >"$to/copyright" <<'END'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: masspay
Comment:
 The program has software of others in it. Their licences are in
 /usr/share/doc/masspay/THIRD-PARTY.txt, and masspay licenses prints them.

Files: *
Copyright: 2026 masspay developers
License: Apache-2.0
 On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.
END
