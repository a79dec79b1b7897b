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
	"time"
)

// stateVersion is the version of the state file's form.
const stateVersion = 1

// memory is what a process leaves to the next one in the state file: the highest key that was ever active here, and the keyring as it
// was listed last. Nothing in it is secret.
type memory struct {
	mark    KeyRef
	keyring string // whose list it is
	owner   string
	keys    []keyMemory // the highest generation first
}

type keyMemory struct {
	ListedKey

	met time.Time // see keyState
}

// state is the state file. A field may be added, since readers pass over those that they do not know: the mark, without which a key id could come
// back, has to outlive a downgrade. What changes the meaning of others takes another version.
type state struct {
	Version    int        `json:"version"`
	Keyring    string     `json:"keyring,omitempty"` // the UUID of the container that Keys are of
	Key        string     `json:"key"`               // the UUID of its secret
	Generation uint64     `json:"generation"`
	Owner      string     `json:"owner,omitempty"` // Keystone's id of the user who listed
	Keys       []stateKey `json:"keys,omitempty"`
}

type stateKey struct {
	Key        string    `json:"key"`
	Generation uint64    `json:"generation"`
	Creator    string    `json:"creator"`
	Created    time.Time `json:"created"`
	NotBefore  time.Time `json:"notBefore,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Met        time.Time `json:"met,omitzero"`
}

// readMark reads the mark of an earlier process, see readMemory.
func readMark(path string) (KeyRef, error) {
	m, err := readMemory(path)
	return m.mark, err
}

// readMemory reads what an earlier process left; a file that is not there has nothing. Whatever else is wrong is ErrStateFile: a mark
// that was lost unnoticed could bring an old key id back.
func readMemory(path string) (memory, error) {
	const longest = 1 << 20
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return memory{}, nil
	}
	if err != nil {
		return memory{}, fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return memory{}, fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	m, err := parseMemory(data)
	if err != nil {
		return memory{}, fmt.Errorf("%w: %s: %w: look up the active generation on another control-plane node and mend the file, or delete it to start from what the keyring says",
			ErrStateFile, path, err)
	}
	return m, nil
}

func parseMemory(data []byte) (memory, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	var s state
	if err := decoder.Decode(&s); err != nil {
		return memory{}, fmt.Errorf("it is no state of this plugin: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return memory{}, errors.New("there is something after its end")
	}
	switch {
	case s.Version != stateVersion:
		return memory{}, fmt.Errorf("version %d is not known here, only %d", s.Version, stateVersion)
	case s.Generation == 0 || !isUUID(s.Key):
		return memory{}, errors.New("it names no key")
	}
	m := memory{mark: KeyRef{Secret: s.Key, Generation: s.Generation}, keyring: s.Keyring, owner: s.Owner}
	for i, k := range s.Keys {
		if k.Generation == 0 || !isUUID(k.Key) {
			return memory{}, fmt.Errorf("keys[%d] names no key", i)
		}
		m.keys = append(m.keys, keyMemory{ListedKey{
			Ref: KeyRef{Secret: k.Key, Generation: k.Generation}, NotBefore: k.NotBefore, Created: k.Created, Expires: k.Expires, Creator: k.Creator, Status: usableStatus,
		}, k.Met})
	}
	return m, nil
}

// encode is the state file's content.
func (m memory) encode() ([]byte, error) {
	s := state{Version: stateVersion, Keyring: m.keyring, Key: m.mark.Secret, Generation: m.mark.Generation, Owner: m.owner}
	for _, k := range m.keys {
		s.Keys = append(s.Keys, stateKey{
			Key: k.Ref.Secret, Generation: k.Ref.Generation, Creator: k.Creator,
			Created: k.Created.UTC(), NotBefore: k.NotBefore.UTC(), Expires: k.Expires.UTC(), Met: k.met.UTC(),
		})
	}
	data, err := json.Marshal(s)
	return append(data, '\n'), err
}

// writeState replaces the file in one step, so that a crash leaves the old content or the new one.
func writeState(path string, data []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".mooring-state-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStateFile, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w: %w", ErrStateFile, err), os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(data)
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
