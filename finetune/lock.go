package finetune

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// fileLock is held by the process that trains a run.
const fileLock = ".lock"

// errLocked says that another process holds the lock.
var errLocked = errors.New("another process trains this run")

// lock keeps other processes from training the run. It is gone when unlock is
// called or the process ends, however it ends.
func (r *Run) lock() (unlock func(), err error) {
	f, err := os.OpenFile(r.path(fileLock), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		if err = lockFile(f); err != nil {
			f.Close()
		}
	}
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: training writes in the run directory: copy it to where that is allowed", err)
	}
	if err != nil {
		return nil, fmt.Errorf("finetune: %s: %w", r.Dir, err)
	}
	return func() { f.Close() }, nil
}
