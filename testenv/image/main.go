// Assembles the operator's image from finished binaries, without a container engine: the roots of public CAs, the licence and
// one static binary. All times are those that the caller names, and the roots come from a pinned module, so the same binaries
// become the same digest on every machine with the same version of Go.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

type settings struct {
	version, revision, licence, out, push, named string
	created                                      time.Time
	binaries                                     []string
}

func main() {
	var s settings
	flag.StringVar(&s.version, "version", "dev", "version of the program")
	flag.StringVar(&s.revision, "revision", "", "commit of the sources")
	flag.StringVar(&s.licence, "licence", "", "file of the licence")
	flag.StringVar(&s.out, "out", "", "write an OCI image layout to this tar file")
	flag.StringVar(&s.named, "name", "", "name of the image in that file, for those who load it")
	flag.StringVar(&s.push, "push", "", "push to this name, with the credentials of `docker login`")
	epoch := flag.Int64("epoch", 0, "time of all files, in seconds since 1970")
	flag.Parse()
	s.created = time.Unix(*epoch, 0).UTC()
	s.binaries = flag.Args()
	digest, err := run(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Println(digest)
}

func run(s settings) (v1.Hash, error) {
	made, err := assemble(s)
	if err != nil {
		return v1.Hash{}, err
	}
	folder, err := os.MkdirTemp("", "image")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(folder)
	index, err := write(s, made, folder)
	if err != nil {
		return v1.Hash{}, err
	}
	// What a registry or a runtime would refuse is found here.
	if err := validate.Index(index); err != nil {
		return v1.Hash{}, err
	}
	if s.out != "" {
		if err := pack(folder, s); err != nil {
			return v1.Hash{}, err
		}
	}
	if s.push != "" {
		to, err := name.ParseReference(s.push, name.StrictValidation)
		if err != nil {
			return v1.Hash{}, err
		}
		if err := remote.WriteIndex(to, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return v1.Hash{}, err
		}
	}
	return index.Digest()
}

// assemble makes an index with one image a platform.
func assemble(s settings) (v1.ImageIndex, error) {
	if len(s.binaries) == 0 || s.licence == "" {
		return nil, errors.New("name the file of the licence (-licence LICENSE) and the binaries (linux/amd64=target/x86_64-unknown-linux-musl/release/apicred)")
	}
	licence, err := os.ReadFile(s.licence)
	if err != nil {
		return nil, err
	}
	base, err := layer(s.created, file{"etc/ssl/certs/ca-certificates.crt", 0o644, roots()}, file{"LICENSE", 0o644, licence})
	if err != nil {
		return nil, err
	}
	sort.Strings(s.binaries)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, binary := range s.binaries {
		platform, from, found := strings.Cut(binary, "=")
		at, err := v1.ParsePlatform(platform)
		if !found || err != nil || at.OS == "" || at.Architecture == "" {
			return nil, fmt.Errorf("%q is not PLATFORM=FILE, such as linux/amd64=target/release/apicred", binary)
		}
		image, err := image(s, at, from, base)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: at}})
	}
	return mutate.Annotations(index, annotations(s)).(v1.ImageIndex), nil
}

func image(s settings, at *v1.Platform, from string, base v1.Layer) (v1.Image, error) {
	program, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	top, err := layer(s.created, file{"apicred", 0o755, program})
	if err != nil {
		return nil, err
	}
	history := func(what string) v1.History {
		return v1.History{Created: v1.Time{Time: s.created}, CreatedBy: what}
	}
	image, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
		mutate.Addendum{Layer: base, History: history("roots of public CAs and the licence"), MediaType: types.OCILayer},
		mutate.Addendum{Layer: top, History: history("apicred"), MediaType: types.OCILayer})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: s.created}
	config.OS, config.Architecture, config.Variant = at.OS, at.Architecture, at.Variant
	config.Config = v1.Config{
		// By number: the kubelet checks runAsNonRoot without a user database.
		User:         "65532:65532",
		Entrypoint:   []string{"/apicred"},
		Cmd:          []string{"run"},
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels:       annotations(s),
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, annotations(s)).(v1.Image), nil
}

func annotations(s settings) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       "apicred",
		"org.opencontainers.image.description": "Keeps OAuth 2.0 access tokens fresh in Kubernetes Secrets",
		"org.opencontainers.image.source":      "https://github.com/apicred/apicred",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.created":     s.created.Format(time.RFC3339),
	}
	if s.revision != "" {
		all["org.opencontainers.image.revision"] = s.revision
	}
	return all
}

// roots is what browsers trust. Roots that they trust for a part of all certificates only are not included, because PEM cannot express that.
func roots() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return all.Bytes()
}

type file struct {
	path    string
	mode    int64
	content []byte
}

// layer has the files, and the folders above them, of root.
func layer(created time.Time, files ...file) (v1.Layer, error) {
	var all bytes.Buffer
	to := tar.NewWriter(&all)
	made := map[string]bool{".": true}
	for _, f := range files {
		for _, folder := range above(f.path) {
			if made[folder] {
				continue
			}
			made[folder] = true
			if err := to.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: created, Format: tar.FormatUSTAR}); err != nil {
				return nil, err
			}
		}
		if err := put(to, f, created); err != nil {
			return nil, err
		}
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
}

func put(to *tar.Writer, f file, at time.Time) error {
	header := tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.content)), ModTime: at, Format: tar.FormatUSTAR}
	if err := to.WriteHeader(&header); err != nil {
		return err
	}
	_, err := to.Write(f.content)
	return err
}

func above(name string) []string {
	if folder := path.Dir(name); folder != "." {
		return append(above(folder), folder)
	}
	return nil
}

// write makes an OCI image layout (image-spec, image-layout.md) and reads it again. Packed, `docker load`, `podman load`,
// `ctr images import`, `kind load image-archive` and `skopeo` take it.
func write(s settings, index v1.ImageIndex, folder string) (v1.ImageIndex, error) {
	at, err := layout.Write(folder, empty.Index)
	if err != nil {
		return nil, err
	}
	var named map[string]string
	if s.named != "" {
		to, err := name.ParseReference(s.named)
		if err != nil {
			return nil, err
		}
		named = map[string]string{
			"io.containerd.image.name":          to.Name(),
			"org.opencontainers.image.ref.name": to.Identifier(),
		}
	}
	if err := at.AppendIndex(index, layout.WithAnnotations(named)); err != nil {
		return nil, err
	}
	all, err := at.ImageIndex()
	if err != nil {
		return nil, err
	}
	digest, err := index.Digest()
	if err != nil {
		return nil, err
	}
	return all.ImageIndex(digest)
}

func pack(folder string, s settings) error {
	out, err := os.Create(s.out)
	if err != nil {
		return err
	}
	defer out.Close()
	to := tar.NewWriter(out)
	// In the order of their names.
	err = filepath.WalkDir(folder, func(at string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, at)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		return put(to, file{filepath.ToSlash(relative), 0o644, content}, s.created)
	})
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return out.Close()
}
