package barbican

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// stateVersion is the version of the state file's form.
const stateVersion = 1

// state is the state file: the highest key that was ever active here. Nothing in it is secret.
type state struct {
	Version    int    `json:"version"`
	Key        string `json:"key"` // the UUID of its secret
	Generation uint64 `json:"generation"`
}

// readMark reads the mark of an earlier process; a file that is not there has none. Whatever else is wrong is ErrStateFile: a mark
// that was lost unnoticed could bring an old key id back.
func readMark(path string) (KeyRef, error) {
	const longest = 4096
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return KeyRef{}, nil
	}
	if err != nil {
		return KeyRef{}, fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return KeyRef{}, fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	mark, err := parseMark(data)
	if err != nil {
		return KeyRef{}, fmt.Errorf("%w: %s: %w: look up the active generation on another control-plane node and mend the file, or delete it to start from what the keyring says",
			ErrStateFile, path, err)
	}
	return mark, nil
}

func parseMark(data []byte) (KeyRef, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var s state
	if err := decoder.Decode(&s); err != nil {
		return KeyRef{}, fmt.Errorf("it is no state of this plugin: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return KeyRef{}, errors.New("there is something after its end")
	}
	switch {
	case s.Version != stateVersion:
		return KeyRef{}, fmt.Errorf("version %d is not known here, only %d", s.Version, stateVersion)
	case s.Generation == 0 || !isUUID(s.Key):
		return KeyRef{}, errors.New("it names no key")
	}
	return KeyRef{Secret: s.Key, Generation: s.Generation}, nil
}

// writeMark replaces the file in one step, so that a crash leaves the old mark or the new one.
func writeMark(path string, mark KeyRef) (err error) {
	data, err := json.Marshal(state{Version: stateVersion, Key: mark.Secret, Generation: mark.Generation})
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".mooring-state-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w: %w", ErrStateFile, err), os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(append(data, '\n'))
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	directory, openErr := os.Open(filepath.Dir(path))
	if openErr != nil {
		return nil // the file is there; only a power cut could undo it
	}
	_ = directory.Sync() // not every file system can
	return directory.Close()
}
