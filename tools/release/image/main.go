// Command image makes an OCI image of masspay from the programs in dist: one layer with nothing
// but the program, the authorities that certificates are checked against, and its folders. It
// needs no daemon and no registry, and makes the same bytes from the same programs.
//
//	image VERSION EPOCH DIST OUT
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the number of the image's user, masspay.
const user = 65532

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("want VERSION EPOCH DIST OUT")
	}
	epoch, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	made := time.Unix(epoch, 0).UTC()
	var index v1.ImageIndex = empty.Index
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		programs, err := filepath.Glob(filepath.Join(args[2], "masspay_linux_"+arch+"_*", "masspay"))
		if err != nil || len(programs) != 1 {
			return errors.Join(err, fmt.Errorf("one program for %s, not %d: make packages", arch, len(programs)))
		}
		image, err := imageOf(programs[0], arch, args[0], made)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	if err := os.RemoveAll(args[3]); err != nil {
		return err
	}
	if _, err := layout.Write(args[3], index); err != nil {
		return err
	}
	digest, err := index.Digest()
	fmt.Println(digest)
	return err
}

func imageOf(program, arch, version string, made time.Time) (v1.Image, error) {
	content, err := layerOf(program, made)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: made}, CreatedBy: "masspay"}}); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: v1.Time{Time: made}, RootFS: must(image.ConfigFile()).RootFS, History: must(image.ConfigFile()).History,
		Config: v1.Config{
			User: fmt.Sprint(user), Entrypoint: []string{"/masspay"}, Cmd: []string{"serve"}, WorkingDir: "/var/lib/masspay",
			Env:     []string{"PATH=/", "HOME=/var/lib/masspay", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			Volumes: map[string]struct{}{"/var/lib/masspay": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title": "masspay", "org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.created": made.Format(time.RFC3339),
			},
		},
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// layerOf is a tar of the image's files, with the program last, which is the largest.
func layerOf(program string, made time.Time) ([]byte, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var authorities bytes.Buffer
	for c := range bundle.Roots() {
		if err := pem.Encode(&authorities, &pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate}); err != nil {
			return nil, err
		}
	}
	licences, err := os.ReadFile("../../cmd/masspay/third-party.txt")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name    string
		mode    int64
		owner   int
		content []byte // nil: a folder
	}{
		{"etc/", 0o755, 0, nil},
		{"etc/passwd", 0o644, 0, fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nmasspay:x:%d:%d:masspay:/var/lib/masspay:/sbin/nologin\n", user, user)},
		{"etc/group", 0o644, 0, fmt.Appendf(nil, "root:x:0:\nmasspay:x:%d:\n", user)},
		{"etc/ssl/", 0o755, 0, nil},
		{"etc/ssl/certs/", 0o755, 0, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, authorities.Bytes()},
		{"etc/masspay/", 0o755, 0, nil},
		{"tmp/", 0o1777, 0, nil},
		{"var/", 0o755, 0, nil},
		{"var/lib/", 0o755, 0, nil},
		{"var/lib/masspay/", 0o700, user, nil},
		{"THIRD-PARTY.txt", 0o644, 0, licences},
		{"masspay", 0o755, 0, text},
	} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, ModTime: made, Format: tar.FormatPAX, Typeflag: tar.TypeDir}
		if f.content != nil {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f.content))
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil { // it writes the end
		return nil, err
	}
	return b.Bytes(), nil
}
