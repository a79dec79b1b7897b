// Command ocitar writes an OCI image as one tar file, as "docker load", "podman load" and "ctr images import" take it, without any
// of their engines. The same directories give the same bytes, whenever and by whomever it is run.
//
//	ocitar -out image.tar -name docker.io/mooring/mooring:0.1.0 -entrypoint /mooring -user 65532:65532 DIRECTORY...
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ocitar:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	var (
		img image
		out string
	)
	flags := flag.NewFlagSet("ocitar", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: ocitar -out FILE -name REFERENCE [flags] DIRECTORY...    (each directory is a layer)")
		flags.PrintDefaults()
	}
	flags.StringVar(&out, "out", "", "the `file` to write; it appears when it is complete")
	flags.StringVar(&img.name, "name", "", "the image's full `reference`, with registry and tag")
	flags.StringVar(&img.user, "user", "", "`uid:gid` it runs as; root, if not set")
	flags.StringVar(&img.arch, "arch", runtime.GOARCH, "the `architecture` it is for, as Go calls it")
	flags.Int64Var(&img.epoch, "epoch", 0, "`seconds` since 1970: the time of the image and of all files in it")
	flags.Func("entrypoint", "a `word` of the command it runs; repeated for more", func(word string) error {
		img.entrypoint = append(img.entrypoint, word)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	img.layers = flags.Args()
	switch {
	case out == "":
		return errors.New("-out is missing: the file to write")
	case strings.LastIndex(img.name, ":") <= strings.LastIndex(img.name, "/"):
		return fmt.Errorf("-name is %q, and should be a full reference such as docker.io/mooring/mooring:0.1.0", img.name)
	case len(img.layers) == 0:
		return errors.New("no directory: what is to be in the image?")
	}
	return replace(out, img.write)
}

// replace writes a file, all of it or nothing.
func replace(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
