package exempt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// errInUse: another process listens there.
var errInUse = errors.New("in use by another sensor")

// maxPath is how long the name of a socket may be.
const maxPath = 107

// ValidatePath reports what is wrong with the name of a socket.
func ValidatePath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is no absolute path", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("%q is longer than %d bytes", path, maxPath)
	}
	return nil
}

// A listener holds the lock of its socket until it is closed.
type listener struct {
	*net.UnixListener
	lock *os.File
}

func (l *listener) Close() error { return errors.Join(l.UnixListener.Close(), l.lock.Close()) }

// listen makes the socket, which only this user can open from its first moment on, or everybody who reaches it if it is for guests too. One that
// a process left behind is replaced; that none is there is known by a lock beside it.
func listen(ctx context.Context, path string, guests bool) (*listener, error) {
	if err := ownDirectory(filepath.Dir(path), guests); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	ln, err := bind(ctx, path, guests)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &listener{ln, lock}, nil
}

func bind(ctx context.Context, path string, guests bool) (*net.UnixListener, error) {
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		// The file gets the mode of the socket that is bound to it.
		err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if guests { // who it is, the kernel says
		if err := os.Chmod(path, 0o666); err != nil {
			_ = ln.Close()
			return nil, err
		}
	}
	return ln.(*net.UnixListener), nil
}

// ownDirectory makes dir if it is not there, and returns an error if others could put something else in the socket's place, or guests not reach it.
func ownDirectory(dir string, guests bool) error {
	const pass = 0o011 // of a directory: for others to open what they know the name of
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil && guests {
			err = os.Chmod(dir, 0o700|pass)
		}
		if err != nil {
			return err
		}
		st, err = os.Lstat(dir)
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	owner := st.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && owner != uint32(os.Geteuid()) || st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s belongs to user %d and has mode %v: others could put a socket of theirs there", dir, owner, st.Mode().Perm())
	}
	if guests && st.Mode().Perm()&pass != pass {
		return fmt.Errorf("%s has mode %v: the users of --self-users cannot reach a socket in it (chmod go+x %[1]s)", dir, st.Mode().Perm())
	}
	return nil
}
