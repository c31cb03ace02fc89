package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// AccessFile is the file of a data directory that says how to reach the embedded server: an Access as JSON. It is also a credentials file.
const AccessFile = "nats.json"

// Other files in a data directory.
const (
	lockFile = "lock"
	storeDir = "jetstream"
)

// An Access is how to reach the embedded server of a running process: what <data>/nats.json holds.
type Access struct {
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
	PID      int    `json:"pid"`
}

// Errors about a data directory.
var (
	ErrDataDirLocked = errors.New("another process uses the data directory")
	ErrNotRunning    = errors.New("nothing runs with this data directory")
)

// FindServer reads how to reach the server that runs with the data directory dir. It returns ErrNotRunning if none does, even if one that
// was killed left its file, and an error that is fs.ErrPermission if this user may not read it.
func FindServer(dir string) (*Access, error) {
	text, err := os.ReadFile(filepath.Join(dir, AccessFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	case err != nil:
		return nil, err
	}
	free, err := lockIsFree(dir)
	switch {
	case err != nil:
		return nil, err
	case free:
		return nil, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	}
	a, err := parseAccess(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, AccessFile), err)
	}
	return a, nil
}

func parseAccess(text []byte) (*Access, error) {
	a := new(Access)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, err
	}
	if a.User == "" || a.Password == "" {
		return nil, errors.New("no user and password in it")
	}
	return a, nil
}

// write stores a for its owner only, whole or not at all.
func (a *Access) write(dir string) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, AccessFile+".*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // there is none after the rename
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, AccessFile))
}

// lockDataDir takes the lock of a data directory for as long as the file is open; a process that dies loses it.
func lockDataDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		var pid int
		if n, _ := fmt.Fscan(f, &pid); n == 1 {
			return nil, fmt.Errorf("%s: %w (process %d)", dir, ErrDataDirLocked, pid)
		}
		return nil, fmt.Errorf("%s: %w", dir, ErrDataDirLocked)
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// lockIsFree reports whether no process holds the lock of dir.
func lockIsFree(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	}
	return false, fmt.Errorf("lock %s: %w", f.Name(), err)
}
