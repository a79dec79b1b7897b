package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "crypto/sha256" // for digest
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// image is what goes into an image of one platform.
type image struct {
	name       string
	entrypoint []string
	user       string
	arch       string
	epoch      int64
	layers     []string // directories
}

// write writes an OCI image layout as a tar: https://github.com/opencontainers/image-spec/blob/main/image-layout.md.
func (img image) write(w io.Writer) error {
	created := time.Unix(img.epoch, 0).UTC()
	out := archive{tar: tar.NewWriter(w), time: created}
	platform := v1.Platform{Architecture: img.arch, OS: "linux"}
	config := v1.Image{
		Created:  &created,
		Platform: platform,
		Config:   v1.ImageConfig{User: img.user, Entrypoint: img.entrypoint, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		RootFS:   v1.RootFS{Type: "layers"},
	}
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, dir := range img.layers {
		packed, content, err := layer(dir, created)
		if err != nil {
			return err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, content)
		manifest.Layers = append(manifest.Layers, out.blob(v1.MediaTypeImageLayerGzip, packed))
	}
	manifest.Config = out.json(v1.MediaTypeImageConfig, config)
	top := out.json(v1.MediaTypeImageManifest, manifest)
	top.Platform = &platform
	top.Annotations = map[string]string{
		v1.AnnotationRefName:       img.name[strings.LastIndex(img.name, ":")+1:],
		"io.containerd.image.name": img.name, // the key by which containerd, podman and docker know the whole name
	}
	out.file(v1.ImageIndexFile, encode(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{top}}))
	out.file(v1.ImageLayoutFile, encode(v1.ImageLayout{Version: v1.ImageLayoutVersion}))
	return out.close()
}

// archive is a tar that is being written; the first error stays.
type archive struct {
	tar  *tar.Writer
	time time.Time
	err  error
}

func (a *archive) file(name string, data []byte) {
	if a.err == nil {
		a.err = a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: a.time})
	}
	if a.err == nil {
		_, a.err = a.tar.Write(data)
	}
}

func (a *archive) blob(mediaType string, data []byte) v1.Descriptor {
	sum := digest.FromBytes(data)
	a.file(v1.ImageBlobsDir+"/"+sum.Algorithm().String()+"/"+sum.Encoded(), data)
	return v1.Descriptor{MediaType: mediaType, Digest: sum, Size: int64(len(data))}
}

func (a *archive) json(mediaType string, value any) v1.Descriptor {
	return a.blob(mediaType, encode(value))
}

func (a *archive) close() error {
	if a.err != nil {
		return a.err
	}
	return a.tar.Close()
}

// encode is for the structs of the image specification, which all have a JSON form.
func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

// layer packs a directory: the compressed tar, and the digest of what is in it. Owner and time of the files do not matter; all
// belong to root.
func layer(dir string, modified time.Time) (packed []byte, content digest.Digest, err error) {
	var buf bytes.Buffer
	compressed := gzip.NewWriter(&buf)
	sum := digest.Canonical.Digester()
	out := tar.NewWriter(io.MultiWriter(compressed, sum.Hash()))
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { // in the order of names
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		return add(out, path, filepath.ToSlash(name), entry, modified)
	})
	for _, c := range []io.Closer{out, compressed} {
		if err == nil {
			err = c.Close()
		}
	}
	if err != nil {
		return nil, "", err
	}
	return buf.Bytes(), sum.Digest(), nil
}

func add(out *tar.Writer, path, name string, entry fs.DirEntry, modified time.Time) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: mode(info.Mode()), ModTime: modified}
	switch info.Mode().Type() {
	case 0:
		header.Typeflag, header.Size = tar.TypeReg, info.Size()
	case fs.ModeDir:
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	case fs.ModeSymlink:
		header.Typeflag, header.Mode = tar.TypeSymlink, 0o777
		if header.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a file nor a directory nor a symbolic link", path)
	}
	if err := out.WriteHeader(header); err != nil || header.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(out, f)
	return err
}

// mode is the permission bits as tar has them.
func mode(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for flag, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}
